"""The vocabulary of every synthetic artifact, made so that text and token ids say the same.

Engines differ in what they take and give: ids, or only text. Here each id from `FIRST_WORD` on is a
*word*: a blank and a numeral in the letters a to p, so that ids can be read off a text and counted
in it. Every beginning of a word is a piece as well, so the merging of pairs that SentencePiece and
llama.cpp do rebuilds each word from its letters, and never joins two words.

    0 <pad>   1 <eos>   2 <bos>   3 <unk>   4 <start_of_turn>   5 <end_of_turn>
    6 to 261 the bytes <0x00> to <0xFF>   262 the blank   263 to 278 the letters a to p
    279 and all that follow: words

Writers make the rows of the first `FIRST_WORD` ids zero in the table: their logits are zero, so the
greedy choice is a word unless logits are not finite, and no end-of-sequence cuts a run short.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from itertools import count, islice, product
from typing import TYPE_CHECKING, Final, NamedTuple

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PAD, EOS, BOS, UNK, START_OF_TURN, END_OF_TURN = range(6)
SPECIALS: Final = ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>")
LETTERS: Final = "abcdefghijklmnop"
BLANK: Final = "\u2581"  # SentencePiece's stand-in for a blank
_BYTES: Final = 256
FIRST_WORD: Final = len(SPECIALS) + _BYTES + 1 + len(LETTERS)


class Kind(IntEnum):
    """`ModelProto.SentencePiece.Type` of sentencepiece_model.proto; GGUF has the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    BYTE = 6


class Piece(NamedTuple):
    """One entry of the vocabulary; the higher the score, the earlier a merge makes it."""

    text: str
    score: float
    kind: Kind


def _numeral(number: int) -> str:
    """Bijective base 16 in `LETTERS`: 1 is a, 16 is p, 17 is aa."""
    letters = []
    while number:
        number, digit = divmod(number - 1, len(LETTERS))
        letters.append(LETTERS[digit])
    return "".join(reversed(letters))


def _numerals() -> Iterator[str]:
    """All numerals in rising order, without end; `_numeral` one by one takes ten times as long."""
    for length in count(1):
        yield from map("".join, product(LETTERS, repeat=length))


def _number(numeral: str) -> int:
    number = 0
    for letter in numeral:
        number = number * len(LETTERS) + LETTERS.index(letter) + 1
    return number


def word(token: int) -> str:
    """The text of a word, its blank included.

    Raises:
        ValueError: the id is none of a word.
    """
    if token < FIRST_WORD:
        raise ValueError(f"{token} is not the id of a word")
    return " " + _numeral(token - FIRST_WORD + 1)


def text_of(ids: Iterable[int]) -> str:
    """The text that is made of these words."""
    return "".join(word(token) for token in ids)


def ids_of(text: str) -> list[int]:
    """The ids of the words in a text; -1 for everything else that stands between blanks."""
    return [
        FIRST_WORD + _number(part) - 1 if not part.strip(LETTERS) else -1 for part in text.split()
    ]


def pieces(vocabulary: int) -> Iterator[Piece]:
    """All entries, in the order of their ids.

    Raises:
        UserError: the vocabulary is too small to hold any word.
    """
    if vocabulary <= FIRST_WORD:
        raise UserError(
            f"a vocabulary of {vocabulary} is too small for a tokenizer",
            f"it needs more than {FIRST_WORD} entries",
        )
    for token, text in enumerate(SPECIALS):
        turn = token in {START_OF_TURN, END_OF_TURN}
        kind = Kind.UNKNOWN if token == UNK else Kind.USER_DEFINED if turn else Kind.CONTROL
        yield Piece(text, 0.0, kind)
    for byte in range(_BYTES):
        yield Piece(f"<0x{byte:02X}>", 0.0, Kind.BYTE)
    for text in (BLANK, *LETTERS):
        yield Piece(text, -1e9, Kind.NORMAL)
    for number, numeral in enumerate(islice(_numerals(), vocabulary - FIRST_WORD), start=1):
        yield Piece(BLANK + numeral, -float(number), Kind.NORMAL)


# An entry of the vocabulary: its tag and length, the text's tag and length; behind the text its
# score and its kind, each with a tag.
_PIECE: Final = struct.Struct("<BBBB")
_REST: Final = struct.Struct("<BfBB")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def spm_model(vocabulary: int) -> bytes:
    """The vocabulary as a SentencePiece model (BPE with byte fallback), serialised.

    Fields are those of google/sentencepiece:src/sentencepiece_model.proto.
    """
    # A piece is short: each of its lengths is one byte.
    entries = b"".join(
        _PIECE.pack(1 << 3 | 2, len(text) + 9, 1 << 3 | 2, len(text))
        + text
        + _REST.pack(2 << 3 | 5, piece.score, 3 << 3, piece.kind)
        for piece in pieces(vocabulary)
        for text in (piece.text.encode(),)
    )
    trainer = b"".join(
        _number_field(number, value)
        for number, value in (
            (3, 2),  # model_type: BPE
            (4, vocabulary),  # vocab_size
            (35, 1),  # byte_fallback
            (40, UNK),
            (41, BOS),
            (42, EOS),
            (43, PAD),
        )
    )
    trainer += b"".join(
        _field(number, text.encode())
        for number, text in ((45, "<unk>"), (46, "<bos>"), (47, "<eos>"), (48, "<pad>"))
    )
    # No dummy prefix: a word brings its own blank. Nothing is normalised away.
    normaliser = (
        _field(1, b"identity")
        + _number_field(3, 0)  # add_dummy_prefix
        + _number_field(4, 0)  # remove_extra_whitespaces
        + _number_field(5, 1)  # escape_whitespaces
    )
    return entries + _field(2, trainer) + _field(3, normaliser)
