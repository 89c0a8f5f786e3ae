from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.litert_lm import explain, tokens_of
from harness.engines.loop import ArtifactRefusedError, Token, UnsupportedError
from harness.weights.tokenizer import FIRST_WORD, word

# Lines as litert-lm-api 0.18.1 wrote them, shortened.
BAD = """\
WARNING: Logging before InitGoogle() is written to STDERR
E0000 00:00:1795644303.982234   27223 engine.cc:854] Failed to create engine: INVALID_ARGUMENT: \
Invalid magic number or failed to read: hellohel
=== Source Location Trace: ===
third_party/odml/litert_lm/schema/core/litertlm_read.cc:78"""
CUT = """\
E0000 00:00:1795644303.1   27223 model_resources.cc:8] INTERNAL: RET_CHECK failure (x.cc:115) \
false Length (3835840) and offset (65536) are too large for file size (2000000)
E0000 00:00:1795644303.1   27223 model_resources.cc:8] INTERNAL: RET_CHECK failure (x.cc:115) \
false Length (3835840) and offset (65536) are too large for file size (2000000)
E0000 00:00:1795644303.9   27223 engine.cc:854] Failed to create engine: NOT_FOUND: ERROR: [a.cc:2]
└ ERROR: [b.cc:91]
└ tf_lite_prefill_decode not found in the model."""
LONG = """\
E0000 00:00:1795645156.147662   15799 engine.cc:1004] Failed to run prefill: INVALID_ARGUMENT: \
Input token ids are too long. Exceeding the maximum number of tokens allowed: 301 >= 256"""
MEMORY = """\
E0000 00:00:1795645156.1   15799 engine.cc:4] Failed to create engine: RESOURCE_EXHAUSTED: arena"""
OTHER = """\
F0000 00:00:1795645156.1   15799 engine.cc:4] Failed to create engine: INTERNAL: x"""


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (BAD, ArtifactRefusedError, "Invalid magic number"),
        (CUT, ArtifactRefusedError, "too large for file size (2000000)"),
        (CUT, ArtifactRefusedError, "tf_lite_prefill_decode not found in the model."),
        (LONG, UnsupportedError, "301 >= 256"),
        (MEMORY, MemoryError, "out of memory"),
        (OTHER, RuntimeError, "INTERNAL: x"),
        ("no such line", RuntimeError, "Failed to create LiteRT-LM engine"),
    ],
)
def test_why_a_call_failed(said: str, kind: type[Exception], words: str) -> None:
    error = explain(RuntimeError("Failed to create LiteRT-LM engine for a"), said.splitlines())
    assert type(error) is kind
    assert words in str(error)
    assert str(error).count("too large for file size") <= 1  # what is said twice is kept once
    assert "ERROR: [b.cc:91]" not in str(error)


@given(st.lists(st.text()))
def test_any_log_is_read(lines: list[str]) -> None:
    assert "call" in str(explain(RuntimeError("call"), lines))


@given(st.lists(st.integers(FIRST_WORD, 262_143), max_size=5))
def test_words_are_read_off_a_piece(numbers: list[int]) -> None:
    piece = "".join(word(number) for number in numbers)
    assert tokens_of(piece, words=True) == [Token(number=n, finite=True) for n in numbers]


def test_what_is_no_word_was_no_choice() -> None:
    assert tokens_of(" <pad>", words=True) == [Token(number=-1, finite=False)]
    assert tokens_of("", words=True) == []


def test_of_another_vocabulary_a_piece_is_a_token() -> None:
    assert tokens_of(" Hello world", words=False) == [Token(number=-1, finite=None)]
