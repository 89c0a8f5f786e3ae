"""The synthetic vocabulary: text and ids say the same, to SentencePiece as well."""

from __future__ import annotations

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.weights.tokenizer import (
    BOS,
    EOS,
    FIRST_WORD,
    PAD,
    START_OF_TURN,
    UNK,
    Kind,
    ids_of,
    pieces,
    spm_model,
    text_of,
    word,
)

VOCABULARY = 20_000
words = st.lists(st.integers(FIRST_WORD, VOCABULARY - 1), max_size=40)


@pytest.fixture(scope="module")
def processor() -> sentencepiece.SentencePieceProcessor:
    return sentencepiece.SentencePieceProcessor(model_proto=spm_model(VOCABULARY))


@given(ids=words)
def test_text_and_ids_say_the_same(ids: list[int]) -> None:
    assert ids_of(text_of(ids)) == ids


@given(text=st.text())
def test_any_text_can_be_read(text: str) -> None:
    found = ids_of(text)
    assert len(found) == len(text.split())
    assert all(token == -1 or token >= FIRST_WORD for token in found)


def test_sentencepiece_reads_it_likewise(
    processor: sentencepiece.SentencePieceProcessor,
) -> None:
    ids = [FIRST_WORD + 7 * number % (VOCABULARY - FIRST_WORD) for number in range(3000)]
    assert processor.encode(text_of(ids)) == ids
    assert processor.decode(ids).split() == text_of(ids).split()
    assert processor.get_piece_size() == VOCABULARY
    special = (processor.pad_id(), processor.eos_id(), processor.bos_id(), processor.unk_id())
    assert special == (PAD, EOS, BOS, UNK)
    assert processor.encode("<start_of_turn>" + word(VOCABULARY - 1)) == [
        START_OF_TURN,
        VOCABULARY - 1,
    ]


def test_every_beginning_of_a_word_is_a_piece() -> None:
    """Merging pairs would not arrive at a word otherwise."""
    texts = {piece.text for piece in pieces(VOCABULARY)}
    assert len(texts) == VOCABULARY
    assert all(text[:-1] in texts for text in texts if len(text) > 1 and text[0] != "<")


def test_bytes_and_specials_are_not_words() -> None:
    entries = list(pieces(1000))
    assert [entry.kind for entry in entries[6:262]] == [Kind.BYTE] * 256
    assert entries[FIRST_WORD].text == "\u2581a"
    with pytest.raises(ValueError, match="278 is not the id of a word"):
        word(FIRST_WORD - 1)


def test_too_small_a_vocabulary() -> None:
    with pytest.raises(UserError, match="a vocabulary of 279 is too small"):
        list(pieces(FIRST_WORD))
