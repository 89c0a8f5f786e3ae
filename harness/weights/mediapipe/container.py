"""The container: a TensorFlow Lite FlatBuffer without operators, whose tensors lie behind it.

Schema: tensorflow/tensorflow:tensorflow/compiler/mlir/lite/schema/schema.fbs. Tensors are bytes
with a name; each has a buffer that says where in the file they are. What the engine needs beside
weights is metadata, by name. The kind of model is metadata too, whose buffer number is the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import flatbuffers

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC: Final = b"TFL3"
SCHEMA_VERSION: Final = 3
# Enough for the GPU's copies and for maps of pages of any size.
FIRST_ALIGNMENT: Final = 64 << 10
ALIGNMENT: Final = 256
# tasks-genai 0.10.29 waits for ever, without a word, for the rest of a file below 1 MiB.
LEAST_BYTES: Final = 2 << 20


class TensorType(IntEnum):
    """`TensorType` of the schema."""

    FLOAT32 = 0
    INT32 = 2
    INT8 = 9
    INT4 = 17
    INT2 = 19


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor or a metadata text as it is stored: a name and so many bytes."""

    name: str
    bytes: int
    type: TensorType = TensorType.INT8


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything lies.

    Attributes:
        head: The FlatBuffer, at 0.
        metadata, tensors: Offsets, in the order given.
        bytes: Size of the file.
    """

    head: bytes
    metadata: tuple[int, ...]
    tensors: tuple[int, ...]
    bytes: int


def lay_out(name: str, kind: int, metadata: Sequence[Entry], tensors: Sequence[Entry]) -> Layout:
    """Decide on every byte's place.

    Args:
        name: Of the graph; the engine does not read it.
        kind: `odml.infra.proto.LlmModelType`.
        metadata: What the engine needs beside weights.
        tensors: In the order of the file, behind the metadata.
    """
    sizes = [entry.bytes for entry in (*metadata, *tensors)]
    # Offsets and sizes of 0 are left out of a FlatBuffer; others all take the same space.
    draft = _flatbuffer(name, kind, metadata, tensors, [1] * len(sizes))
    offsets, end = [], -(-len(draft) // FIRST_ALIGNMENT) * FIRST_ALIGNMENT
    for size in sizes:
        offsets.append(end)
        end = -(-(end + size) // ALIGNMENT) * ALIGNMENT
    head = _flatbuffer(name, kind, metadata, tensors, offsets)
    split = len(metadata)
    return Layout(head, tuple(offsets[:split]), tuple(offsets[split:]), max(end, LEAST_BYTES))


def _flatbuffer(
    name: str,
    kind: int,
    metadata: Sequence[Entry],
    tensors: Sequence[Entry],
    offsets: Sequence[int],
) -> bytes:
    """`Model` of the schema; slot numbers are those of its tables."""
    builder = flatbuffers.Builder(1 << 16)
    buffers = [_buffer(builder, 0, 0)]  # by convention the first one is empty
    for entry, offset in zip((*metadata, *tensors), offsets, strict=True):
        buffers.append(_buffer(builder, offset, entry.bytes))
    made = [
        _tensor(builder, entry, 1 + len(metadata) + number) for number, entry in enumerate(tensors)
    ]
    listed = _vector(builder, made)
    none = _vector(builder, ())
    title = builder.CreateString(name)
    builder.StartObject(5)  # SubGraph: tensors, inputs, outputs, operators, name
    for slot, content in enumerate((listed, none, none, none, title)):
        builder.PrependUOffsetTRelativeSlot(slot, content, 0)
    subgraphs = _vector(builder, [builder.EndObject()])
    stored = _vector(builder, buffers)
    named = [(entry.name, 1 + number) for number, entry in enumerate(metadata)]
    named.append(("odml.infra.LlmModelType", kind))
    notes = _vector(builder, [_metadata(builder, key, number) for key, number in named])
    builder.StartObject(8)  # Model
    builder.PrependUint32Slot(0, SCHEMA_VERSION, 0)
    for slot, content in ((1, none), (2, subgraphs), (4, stored), (6, notes)):
        builder.PrependUOffsetTRelativeSlot(slot, content, 0)
    builder.Finish(builder.EndObject(), MAGIC)
    return bytes(builder.Output())


def _buffer(builder: flatbuffers.Builder, offset: int, size: int) -> int:
    builder.StartObject(3)  # Buffer: data, offset, size
    builder.PrependUint64Slot(1, offset, 0)
    builder.PrependUint64Slot(2, size, 0)
    return int(builder.EndObject())


def _tensor(builder: flatbuffers.Builder, entry: Entry, buffer: int) -> int:
    """A tensor; the engine takes its shape from the parameters, and here only its bytes."""
    name = builder.CreateString(entry.name)
    builder.StartVector(4, 1, 4)
    builder.PrependInt32(entry.bytes)
    shape = builder.EndVector()
    builder.StartObject(4)  # Tensor: shape, type, buffer, name
    builder.PrependUOffsetTRelativeSlot(0, shape, 0)
    builder.PrependInt8Slot(1, entry.type, 0)
    builder.PrependUint32Slot(2, buffer, 0)
    builder.PrependUOffsetTRelativeSlot(3, name, 0)
    return int(builder.EndObject())


def _metadata(builder: flatbuffers.Builder, key: str, buffer: int) -> int:
    name = builder.CreateString(key)
    builder.StartObject(2)  # Metadata: name, buffer
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUint32Slot(1, buffer, 0)
    return int(builder.EndObject())


def _vector(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())
