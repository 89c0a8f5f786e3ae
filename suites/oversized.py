"""ONNX models of gigabytes whose weights are holes in sparse files: zeros that take no disk.

Each model reads one row of every weight, so that none can be left out, and expands a scalar to as
many elements as its input `shape` says: a temporary of any size, for which the heap must have room
beside the weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx import AttributeProto, ModelProto, TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

GRAPH: Final = "model.onnx"
DATA: Final = "model.onnx_data"
ROW_BYTES: Final = 4096
_COLUMNS: Final = ROW_BYTES // 4  # of float32


@dataclass(frozen=True, slots=True)
class Oversized:
    """A model by the sizes of its files.

    Attributes:
        inline_bytes: Size of one weight inside the .onnx file; 0 for none.
        external_bytes: Size of one data file, in several weights.
        shared: How many weights of `external_bytes` have the data file's bytes, each all of them.
        offset: Of the weights in the data file. Beyond its end no weight can be read; what comes
            first in the engine is what is reported.
    """

    inline_bytes: int = 0
    external_bytes: int = 0
    shared: int = 0
    offset: int = 0

    def write(self, directory: Path) -> None:
        """Write the files into a directory that exists."""
        weights = self._external()
        model = _model([*weights, *([_weight("inline", 0)] if self.inline_bytes else [])])
        with (directory / GRAPH).open("wb") as file:
            if self.inline_bytes:
                rows = self.inline_bytes // ROW_BYTES
                del model.graph.initializer[-1]
                file.write(model.SerializeToString())
                file.write(_head_of_inline(rows))
                file.truncate(file.tell() + rows * ROW_BYTES)
            else:
                file.write(model.SerializeToString())
        if self.external_bytes:
            with (directory / DATA).open("wb") as file:
                file.truncate(self.external_bytes)

    def _external(self) -> list[TensorProto]:
        if not self.external_bytes:
            return []
        if self.shared:
            rows = self.external_bytes // ROW_BYTES
            return [_weight(f"w{i}", rows, self.offset) for i in range(self.shared)]
        count = math.ceil(self.external_bytes / (1 << 28))
        rows = self.external_bytes // count // ROW_BYTES
        return [
            _weight(f"w{i}", rows, self.offset + i * rows * ROW_BYTES) for i in range(count)
        ]


def _weight(name: str, rows: int, offset: int | None = None) -> TensorProto:
    """A float32 weight `[rows, 1024]`, in the data file when it has an offset."""
    weight = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, _COLUMNS])
    if offset is not None:
        weight.data_location = TensorProto.EXTERNAL
        details = {"location": DATA, "offset": offset, "length": rows * ROW_BYTES}
        for key, value in details.items():
            weight.external_data.add(key=key, value=str(value))
    return weight


def _model(weights: list[TensorProto]) -> ModelProto:
    zero = helper.make_tensor("zero", TensorProto.INT64, [1], [0])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["largest"], keepdims=0),
        *(helper.make_node("Gather", [w.name, "zero"], [f"{w.name}_row"]) for w in weights),
    ]
    graph = helper.make_graph(
        nodes,
        "oversized",
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [1])],
        [
            helper.make_tensor_value_info("largest", TensorProto.FLOAT, []),
            *(
                helper.make_tensor_value_info(f"{w.name}_row", TensorProto.FLOAT, [1, _COLUMNS])
                for w in weights
            ),
        ],
        [zero, one, *weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _head_of_inline(rows: int) -> bytes:
    """What goes between a serialised model and the bytes of one more weight.

    Concatenated messages merge (protobuf encoding, "Last One Wins"): a second `ModelProto` with a
    graph of nothing but an initializer adds that initializer. `raw_data` is its last field, so its
    bytes can be the file's end.
    """
    size = rows * ROW_BYTES
    head = TensorProto(name="inline", data_type=TensorProto.FLOAT, dims=[rows, _COLUMNS])
    tensor = head.SerializeToString() + _length_delimited(TensorProto.RAW_DATA_FIELD_NUMBER, size)
    initializer = _length_delimited(5, len(tensor) + size) + tensor  # GraphProto.initializer
    return _length_delimited(7, len(initializer) + size) + initializer  # ModelProto.graph


def _length_delimited(field: int, length: int) -> bytes:
    """Tag and length of a length-delimited field."""
    return _varint(field << 3 | 2) + _varint(length)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
