"""From graphs to the bytes of a `.tflite` file: a FlatBuffer, and the weights behind it.

Weights lie outside of the FlatBuffer, where a buffer's `offset` and `size` say (counted from the
start of the file), as in models above 2 GB. Graphs that use the same weight share its bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import flatbuffers
import numpy as np

from harness.weights.plan import Section
from harness.weights.tflite.graph import Weight
from harness.weights.tflite.schema import IDENTIFIER, SCHEMA_VERSION, Op
from harness.weights.tile import TileSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from harness.weights.tensors import TensorSpec
    from harness.weights.tflite.graph import Graph, Node, Tensor, Value
    from harness.weights.tflite.schema import Option

# A cache line; kernels read weights in vectors.
ALIGNMENT: Final = 64
# `BuiltinOperator` was a byte once: operators from here on are only in the wider field.
_LAST_NARROW_CODE: Final = 127
_BLOCKWISE: Final = 2  # QuantizationDetails.BlockwiseQuantization
# The FlatBuffer's own vectors of data are aligned so (`force_align` of `Buffer.data`).
_DATA_ALIGNMENT: Final = 16


@dataclass(frozen=True, slots=True)
class Layout:
    """A `.tflite` file: its sections from offset 0 on, and its size."""

    sections: tuple[Section, ...]
    bytes: int


def lay_out(graphs: Sequence[Graph], description: str, seed: int) -> Layout:
    """Decide on every byte's place.

    Args:
        graphs: One signature each.
        description: A word about the model.
        seed: Decides on the factors of rows, which lie in the FlatBuffer.
    """
    writer = _Writer(graphs, seed)
    head = writer.model(description)
    sections = []
    end = len(head)
    for weight, place in writer.places.items():
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        end = offset + weight.bytes
        # `place` counts from the end, as FlatBuffers grow towards their beginning.
        struct.pack_into("<Q", head, len(head) - place, offset)
        sections.append(Section(offset + weight.zeros, weight.content))
    return Layout((Section(0, bytes(head)), *sections), end)


class _Writer:
    """Writes one FlatBuffer. Numbers of slots are those of the schema's tables.

    Attributes:
        places: Where the offset of each weight is to be written once the FlatBuffer's size is
            known, counted from its end; in the order of first use.
    """

    def __init__(self, graphs: Sequence[Graph], seed: int) -> None:
        self.graphs = graphs
        self.places: dict[Weight, int] = {}
        self.tiles = TileSource(seed)
        self.builder = flatbuffers.Builder(1 << 16)
        self.kinds: dict[Op, int] = {}
        # By convention the first buffer is empty: tensors without content point at it.
        self.buffers = [self._buffer(None)]
        self.numbers: dict[Weight | bytes, int] = {}
        self.channels: dict[Weight, int] = {}
        self.zero_points: dict[int, int] = {}

    def model(self, description: str) -> bytearray:
        """The FlatBuffer, finished but for the offsets of weights."""
        subgraphs = [self._subgraph(graph) for graph in self.graphs]
        signatures = [self._signature(graph, at) for at, graph in enumerate(self.graphs)]
        codes = [self._code(op) for op in self.kinds]
        about = self.builder.CreateString(description)
        tables = {
            1: self._tables(codes),
            2: self._tables(subgraphs),
            3: about,
            4: self._tables(self.buffers),
            7: self._tables(signatures),
        }
        self.builder.StartObject(8)
        self.builder.PrependUint32Slot(0, SCHEMA_VERSION, 0)
        for slot, content in tables.items():
            self.builder.PrependUOffsetTRelativeSlot(slot, content, 0)
        self.builder.Finish(self.builder.EndObject(), IDENTIFIER)
        return bytearray(self.builder.Output())

    # -- Vectors

    def _tables(self, offsets: Sequence[int]) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def _integers(self, numbers: Iterable[int]) -> int:
        return int(self.builder.CreateNumpyVector(np.array(tuple(numbers), np.int32)))

    def _data(self, content: bytes) -> int:
        """A vector of bytes, aligned for kernels."""
        self.builder.StartVector(1, len(content), _DATA_ALIGNMENT)
        # What Builder.CreateByteVector does, which does not align.
        self.builder.head -= len(content)
        self.builder.Bytes[self.builder.head : self.builder.head + len(content)] = content
        return int(self.builder.EndVector())

    # -- Buffers

    def _buffer(self, content: Weight | bytes | None) -> int:
        data = self._data(content) if isinstance(content, bytes) else 0
        self.builder.StartObject(3)
        self.builder.PrependUOffsetTRelativeSlot(0, data, 0)
        if isinstance(content, Weight):
            # Any offset but 0, which a FlatBuffer leaves out, holds the place.
            self.builder.PrependUint64Slot(1, 1, 0)
            self.places[content] = self.builder.Offset()
            self.builder.PrependUint64Slot(2, content.bytes, 0)
        return int(self.builder.EndObject())

    def _buffer_number(self, content: Weight | bytes | None) -> int:
        if content is None:
            return 0
        if content not in self.numbers:
            self.numbers[content] = len(self.buffers)
            self.buffers.append(self._buffer(content))
        return self.numbers[content]

    # -- Quantisation

    def _quantisation(self, graph: Graph, weight: Weight) -> int:
        if weight.block_scales:
            return self._blockwise(graph.number_of(weight.block_scales), weight.block)
        if weight.channel_scales is None:
            return 0
        if weight not in self.channels:
            self.channels[weight] = self._channelwise(weight, weight.channel_scales)
        return self.channels[weight]

    def _channelwise(self, weight: Weight, scales: TensorSpec) -> int:
        """One factor for each row. Graphs share the table: a FlatBuffer may be a DAG."""
        factors = self.builder.CreateNumpyVector(_drawn(self.tiles, scales))
        rows = weight.shape[0]
        if rows not in self.zero_points:
            self.zero_points[rows] = self.builder.CreateNumpyVector(np.zeros(rows, np.int64))
        self.builder.StartObject(7)
        self.builder.PrependUOffsetTRelativeSlot(2, factors, 0)
        self.builder.PrependUOffsetTRelativeSlot(3, self.zero_points[rows], 0)
        return int(self.builder.EndObject())

    def _blockwise(self, scales: int, block: int) -> int:
        self.builder.StartObject(3)
        self.builder.PrependInt32Slot(0, scales, 0)
        self.builder.PrependInt32Slot(1, -1, 0)  # no tensor of zero points
        self.builder.PrependInt32Slot(2, block, 0)
        details = self.builder.EndObject()
        self.builder.StartObject(7)
        self.builder.PrependUint8Slot(4, _BLOCKWISE, 0)
        self.builder.PrependUOffsetTRelativeSlot(5, details, 0)
        return int(self.builder.EndObject())

    # -- Graphs

    def _tensor(self, graph: Graph, tensor: Tensor) -> int:
        content = tensor.constant
        buffer = self._buffer_number(content)
        scales = self._quantisation(graph, content) if isinstance(content, Weight) else 0
        name = self.builder.CreateString(tensor.name)
        shape = self._integers(tensor.shape)
        self.builder.StartObject(9)
        self.builder.PrependUOffsetTRelativeSlot(0, shape, 0)
        self.builder.PrependInt8Slot(1, tensor.type, 0)
        self.builder.PrependUint32Slot(2, buffer, 0)
        self.builder.PrependUOffsetTRelativeSlot(3, name, 0)
        self.builder.PrependUOffsetTRelativeSlot(4, scales, 0)
        self.builder.PrependBoolSlot(8, 1, 0)  # has_rank
        return int(self.builder.EndObject())

    def _node(self, node: Node) -> int:
        kind = self.kinds.setdefault(node.op, len(self.kinds))
        inputs, outputs = self._integers(node.inputs), self._integers(node.outputs)
        options = self._options(node.options) if node.op.value.options else 0
        self.builder.StartObject(5)
        self.builder.PrependUint32Slot(0, kind, 0)
        self.builder.PrependUOffsetTRelativeSlot(1, inputs, 0)
        self.builder.PrependUOffsetTRelativeSlot(2, outputs, 0)
        self.builder.PrependUint8Slot(3, node.op.value.options, 0)
        self.builder.PrependUOffsetTRelativeSlot(4, options, 0)
        return int(self.builder.EndObject())

    def _options(self, options: Sequence[Option]) -> int:
        self.builder.StartObject(max((option.slot + 1 for option in options), default=0))
        for option in options:
            if option.type == "float32":
                self.builder.PrependFloat32Slot(option.slot, option.value, 0.0)
            elif option.type == "int32":
                self.builder.PrependInt32Slot(option.slot, int(option.value), 0)
            else:
                self.builder.PrependInt8Slot(option.slot, int(option.value), 0)
        return int(self.builder.EndObject())

    def _code(self, op: Op) -> int:
        self.builder.StartObject(4)
        self.builder.PrependInt8Slot(0, min(op.value.code, _LAST_NARROW_CODE), 0)
        self.builder.PrependInt32Slot(2, op.value.version, 1)
        self.builder.PrependInt32Slot(3, op.value.code, 0)
        return int(self.builder.EndObject())

    def _subgraph(self, graph: Graph) -> int:
        tensors = self._tables([self._tensor(graph, tensor) for tensor in graph.tensors])
        nodes = self._tables([self._node(node) for node in graph.nodes])
        inputs = self._integers(value.number for value in graph.inputs.values())
        outputs = self._integers(value.number for value in graph.outputs.values())
        name = self.builder.CreateString(graph.key)
        self.builder.StartObject(5)
        for slot, content in enumerate((tensors, inputs, outputs, nodes, name)):
            self.builder.PrependUOffsetTRelativeSlot(slot, content, 0)
        return int(self.builder.EndObject())

    def _signature(self, graph: Graph, number: int) -> int:
        inputs, outputs = self._names(graph.inputs), self._names(graph.outputs)
        key = self.builder.CreateString(graph.key)
        self.builder.StartObject(5)
        for slot, content in enumerate((inputs, outputs, key)):
            self.builder.PrependUOffsetTRelativeSlot(slot, content, 0)
        self.builder.PrependUint32Slot(4, number, 0)
        return int(self.builder.EndObject())

    def _names(self, values: dict[str, Value]) -> int:
        made = []
        for name, value in values.items():
            text = self.builder.CreateString(name)
            self.builder.StartObject(2)
            self.builder.PrependUOffsetTRelativeSlot(0, text, 0)
            self.builder.PrependUint32Slot(1, value.number, 0)
            made.append(self.builder.EndObject())
        return self._tables(made)


def _drawn(tiles: TileSource, spec: TensorSpec) -> npt.NDArray[np.float32]:
    """All of a small float32 tensor, as one vector."""
    return np.frombuffer(b"".join(tiles.pieces(spec)), np.float32)
