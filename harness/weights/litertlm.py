"""The `.litertlm` container: sections of any kind behind a header that says where they are.

Layout and schema: google-ai-edge/LiteRT-LM:schema/core/litertlm_header_schema.fbs, and the writer
in PyPI's litert-lm-builder (litertlm_builder.py, `_build_sections`), which has to hold each section
before it knows the header. Here only the sizes have to be known.

    0   "LITERTLM"      8   version: major, minor, patch (uint32 each)
    24  end of the header (uint64)                  32  the header: a FlatBuffer
    then each section from a multiple of 16 KiB on

All numbers are little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import flatbuffers

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC: Final = b"LITERTLM"
VERSION: Final = (1, 7, 0)
BLOCK_BYTES: Final = 16 << 10
_HEADER_AT: Final = 32
_STRING_VALUE: Final = 9  # VData.StringValue


class DataType(IntEnum):
    """`AnySectionDataType` of the schema."""

    TFLITE_MODEL = 3
    SENTENCEPIECE = 4
    LLM_METADATA = 5


@dataclass(frozen=True, slots=True)
class SectionSpec:
    """One section: what it is, and its size.

    Attributes:
        items: Its keys and values, such as `model_type` of a model.
    """

    data_type: DataType
    bytes: int
    items: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the sections.

    Attributes:
        head: The first bytes of the file.
        offsets: Where each section begins, in the order given.
        bytes: Size of the file, which ends with its last section.
    """

    head: bytes
    offsets: tuple[int, ...]
    bytes: int


def frame(sections: Sequence[SectionSpec], about: Sequence[tuple[str, str]] = ()) -> Frame:
    """Lay sections out.

    Args:
        sections: In the order of the file.
        about: Keys and values about the whole file, such as `Authors`.
    """
    # The size of the header does not depend on the offsets as long as none of them is 0, which
    # FlatBuffers leave out.
    size = len(_header(sections, about, [(1, 1)] * len(sections)))
    offsets, end = [], _HEADER_AT + size
    for section in sections:
        offsets.append(-(-end // BLOCK_BYTES) * BLOCK_BYTES)
        end = offsets[-1] + section.bytes
    ranges = [(at, at + section.bytes) for at, section in zip(offsets, sections, strict=True)]
    header = _header(sections, about, ranges)
    fixed = struct.pack("<8sIII4xQ", MAGIC, *VERSION, _HEADER_AT + len(header))
    return Frame(fixed + header, tuple(offsets), end)


def _header(
    sections: Sequence[SectionSpec],
    about: Sequence[tuple[str, str]],
    ranges: Sequence[tuple[int, int]],
) -> bytes:
    """`LiteRTLMMetaData` of the schema; field numbers are those of its tables."""
    builder = flatbuffers.Builder(1 << 12)
    objects = []
    for section, (begin, end) in zip(sections, ranges, strict=True):
        items = _pairs(builder, section.items)
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(0, items, 0)
        builder.PrependUint64Slot(1, begin, 0)
        builder.PrependUint64Slot(2, end, 0)
        builder.PrependUint8Slot(3, section.data_type, 0)
        objects.append(builder.EndObject())
    listed = _vector(builder, objects)
    entries = _pairs(builder, about)
    tables = []
    for content in (entries, listed):
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, content, 0)
        tables.append(builder.EndObject())
    builder.StartObject(2)
    for slot, table in enumerate(tables):
        builder.PrependUOffsetTRelativeSlot(slot, table, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


def _pairs(builder: flatbuffers.Builder, pairs: Sequence[tuple[str, str]]) -> int:
    """A vector of `KeyValuePair`, all values texts."""
    made = []
    for key, text in pairs:
        content = builder.CreateString(text)
        builder.StartObject(1)
        builder.PrependUOffsetTRelativeSlot(0, content, 0)
        value = builder.EndObject()
        name = builder.CreateString(key)
        builder.StartObject(3)
        builder.PrependUOffsetTRelativeSlot(0, name, 0)
        builder.PrependUint8Slot(1, _STRING_VALUE, 0)
        builder.PrependUOffsetTRelativeSlot(2, value, 0)
        made.append(builder.EndObject())
    return _vector(builder, made)


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
