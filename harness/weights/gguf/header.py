"""The head of a GGUF file: metadata and descriptions of tensors, serialised.

Version 3 of the format, little-endian, as ggml-org/ggml:docs/gguf.md describes it:

    "GGUF", uint32 version, uint64 number of tensors, uint64 number of metadata pairs
    pairs:    string key, uint32 type, value; an array is uint32 type, uint64 length, values
    tensors:  string name, uint32 dimensions, uint64 each, uint32 type, uint64 offset
    zeros to the alignment, then the tensors' bytes, each aligned; offsets count from here

A string is its length in bytes as uint64, and then UTF-8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.weights.gguf.types import TensorType

ALIGNMENT: Final = 32
_VERSION: Final = 3
# `enum gguf_type`.
_UINT16, _UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 2, 4, 5, 6, 7, 8, 9


@dataclass(frozen=True, slots=True)
class Value:
    """A metadata value, ready to be written after its key: the type and the bytes."""

    content: bytes


def uint16(value: int) -> Value:
    """A 16-bit number without sign."""
    return Value(struct.pack("<IH", _UINT16, value))


def uint32(value: int) -> Value:
    """A 32-bit number without sign."""
    return Value(struct.pack("<II", _UINT32, value))


def int32(value: int) -> Value:
    """A 32-bit number with sign."""
    return Value(struct.pack("<Ii", _INT32, value))


def float32(value: float) -> Value:
    """A 32-bit float."""
    return Value(struct.pack("<If", _FLOAT32, value))


def boolean(*, value: bool) -> Value:
    """A truth value, one byte."""
    return Value(struct.pack("<I?", _BOOL, value))


def string(value: str) -> Value:
    """A text."""
    return Value(struct.pack("<I", _STRING) + _text(value))


def strings(values: Sequence[str]) -> Value:
    """An array of texts."""
    return Value(_array(_STRING, len(values)) + b"".join(map(_text, values)))


def float32s(values: Sequence[float]) -> Value:
    """An array of 32-bit floats."""
    return Value(_array(_FLOAT32, len(values)) + struct.pack(f"<{len(values)}f", *values))


def int32s(values: Sequence[int]) -> Value:
    """An array of 32-bit numbers with sign."""
    return Value(_array(_INT32, len(values)) + struct.pack(f"<{len(values)}i", *values))


def _array(element: int, length: int) -> bytes:
    return struct.pack("<IIQ", _ARRAY, element, length)


def _text(value: str) -> bytes:
    content = value.encode()
    return struct.pack("<Q", len(content)) + content


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor as the head describes it.

    Attributes:
        shape: The length of a row first: llama.cpp's order.
        offset: From the beginning of the tensors' bytes, a multiple of `ALIGNMENT`.
    """

    name: str
    shape: tuple[int, ...]
    kind: TensorType
    offset: int


def aligned(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def serialise(metadata: Mapping[str, Value], tensors: Sequence[TensorInfo]) -> bytes:
    """The head, padded to the alignment: the tensors' bytes begin at its end."""
    parts = [b"GGUF", struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_text(key), value.content]
    for tensor in tensors:
        dimensions = len(tensor.shape)
        parts += [
            _text(tensor.name),
            struct.pack(f"<I{dimensions}Q", dimensions, *tensor.shape),
            struct.pack("<IQ", tensor.kind.code, tensor.offset),
        ]
    head = b"".join(parts)
    return head + bytes(aligned(len(head)) - len(head))
