from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.engines.llama_cpp import _load_error, tokens_of
from harness.engines.loop import ArtifactRefusedError, Token, UnsupportedError

# Chunks and lines as xllamacpp 2026.10.11549 gave them, shortened.
CHUNK: dict[str, Any] = json.loads(
    """{"choices": [{"text": " fj", "index": 0, "finish_reason": null, "logprobs": {"content": [
    {"id": 384, "token": " fj", "bytes": [32, 102, 106], "prob": 1.0,
     "top_probs": [{"id": 384, "token": " fj", "bytes": [32, 102, 106], "prob": 1.0}]}]}}],
    "model": "tiny.gguf", "object": "text_completion"}"""
)
LAST: dict[str, Any] = json.loads(
    """{"choices": [{"text": "", "index": 0, "logprobs": null, "finish_reason": "length"}],
    "usage": {"completion_tokens": 3, "prompt_tokens": 16, "total_tokens": 19}}"""
)
TRUNCATED = """\
0.00.162.969 E llama_model_load: error loading model: tensor 'blk.2.ffn_up.weight' data is not \
within the file bounds, model is corrupted or incomplete
0.00.162.993 E llama_model_load_from_file_impl: failed to load model
0.00.162.998 E cmn  common_init_: failed to load model 'cut.gguf'
0.00.163.542 E srv          init: exiting due to model loading error"""
NO_GGUF = """\
0.00.009.011 E gguf_init_from_reader: invalid magic characters: 'hell', expected 'GGUF'
0.00.013.033 E llama_model_load: error loading model: llama_model_loader: failed to load model"""
ARCHITECTURE = """\
0.00.009.011 E llama_model_load: error loading model: unknown model architecture: 'other'"""
MEMORY = """\
0.00.1.1 W something: a warning that is none of it
0.00.200.1 E ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 99
0.00.200.2 E llama_model_load: error loading model: unable to allocate CPU buffer"""


def test_a_chunk_gives_its_tokens() -> None:
    assert tokens_of(CHUNK, words=True) == [Token(number=384, finite=True)]
    assert tokens_of(CHUNK, words=False) == [Token(number=384, finite=None)]
    assert tokens_of(LAST, words=True) == []
    both = json.loads(json.dumps(CHUNK))
    both["choices"][0]["logprobs"]["content"] *= 2  # text that was held back comes with the next
    assert len(tokens_of(both, words=True)) == 2


def test_the_first_token_of_all_is_the_choice_among_logits_that_are_no_numbers() -> None:
    chunk = json.loads(json.dumps(CHUNK))
    chunk["choices"][0]["logprobs"]["content"][0]["id"] = 0
    assert tokens_of(chunk, words=True) == [Token(number=-1, finite=False)]
    assert tokens_of(chunk, words=False) == [Token(number=0, finite=None)]


def test_a_chunk_may_be_an_error() -> None:
    chunk = {
        "error": {
            "code": 400,
            "message": "Prompt contains invalid tokens",
            "type": "invalid_request_error",
        }
    }
    with pytest.raises(RuntimeError, match="invalid_request_error: Prompt contains"):
        tokens_of(chunk, words=True)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (TRUNCATED, ArtifactRefusedError, "not within the file bounds"),
        (NO_GGUF, ArtifactRefusedError, "invalid magic characters"),
        (ARCHITECTURE, UnsupportedError, "unknown model architecture"),
        (MEMORY, MemoryError, "failed to allocate buffer of size 99"),
        ("no line of that kind", RuntimeError, "Failed to init server"),
        ("0.0 E srv init: failed to initialize HTTP server", RuntimeError, "HTTP server"),
    ],
)
def test_why_a_model_does_not_load(said: str, kind: type[Exception], words: str) -> None:
    error = _load_error(said.splitlines(), RuntimeError("Failed to init server"))
    assert type(error) is kind
    assert words in str(error)


@given(st.lists(st.text()))
def test_any_log_is_read(lines: list[str]) -> None:
    assert str(_load_error(lines, RuntimeError("x")))
