"""Protocol buffer messages of a few fields, encoded without their generated classes.

Encoding: https://protobuf.dev/programming-guides/encoding/. Booleans, enumerations and integers are
varints, a `float` is a 32-bit float, and texts, bytes and messages have their length before them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

Fields = Sequence["tuple[int, Value]"]
"""Field numbers and values, in order; a repeated field is there several times."""

Value = bool | int | float | str | bytes | Fields

_VARINT, _LENGTH, _FIXED32 = 0, 2, 5


def encode(fields: Fields) -> bytes:
    """A message."""
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: Value) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | _FIXED32) + struct.pack("<f", value)
    if isinstance(value, str):
        content = value.encode()
    else:
        content = value if isinstance(value, bytes) else encode(value)
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    if number < 0:
        raise ValueError(f"{number}: negative numbers are not used here")
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
