"""ONNX models of gigabytes whose weights are holes in sparse files: zeros that take no disk.

Each model reads a row of every weight, and which one is an input: a constant row would be read when
the session is made, and the weights dropped. It expands a scalar to as
many elements as its input `shape` says: a temporary of any size, for which the heap must have room
beside the weights.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onnx import ModelProto, TensorProto, helper

if TYPE_CHECKING:
    from pathlib import Path

GRAPH: Final = "model.onnx"
DATA: Final = "model.onnx_data"
ROW_BYTES: Final = 4096
WEIGHT_BYTES: Final = 1 << 28
_COLUMNS: Final = ROW_BYTES // 4  # of float32


@dataclass(frozen=True, slots=True)
class Oversized:
    """A model by the sizes of its files.

    Attributes:
        inline_bytes: Size of the weights inside the .onnx file.
        external_bytes: Size of the data file with further weights.
        shared: How many weights have the bytes of the data file, each of them all of it. Without
            it the file is cut into weights of about 256 MiB, as the others are.
        offset: Added to where the weights begin in the data file, which is not made longer.
    """

    inline_bytes: int = 0
    external_bytes: int = 0
    shared: int = 0
    offset: int = 0

    def write(self, directory: Path) -> None:
        """Write the files into a directory that exists."""
        inline = [(f"inline{i}", rows) for i, rows in enumerate(_cut(self.inline_bytes))]
        external = self._external()
        with (directory / GRAPH).open("wb") as file:
            names = [weight.name for weight in external] + [name for name, _ in inline]
            file.write(_model(names, external).SerializeToString())
            for name, rows in inline:
                file.write(_head_of_inline(name, rows))
                file.seek(rows * ROW_BYTES, os.SEEK_CUR)
            file.truncate()
        if self.external_bytes:
            with (directory / DATA).open("wb") as file:
                file.truncate(self.external_bytes)

    def _external(self) -> list[TensorProto]:
        if self.shared:
            rows = self.external_bytes // ROW_BYTES
            return [_external(f"w{i}", rows, self.offset) for i in range(self.shared)]
        weights = []
        offset = self.offset
        for i, rows in enumerate(_cut(self.external_bytes)):
            weights.append(_external(f"w{i}", rows, offset))
            offset += rows * ROW_BYTES
        return weights


def _cut(size: int) -> list[int]:
    """The rows of each weight, for `size` bytes in all."""
    rows, most = size // ROW_BYTES, WEIGHT_BYTES // ROW_BYTES
    return [most] * (rows // most) + ([rows % most] if rows % most else [])


def _external(name: str, rows: int, offset: int) -> TensorProto:
    """A float32 weight `[rows, 1024]` in the data file."""
    weight = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, _COLUMNS])
    weight.data_location = TensorProto.EXTERNAL
    details = {"location": DATA, "offset": offset, "length": rows * ROW_BYTES}
    for key, value in details.items():
        weight.external_data.add(key=key, value=str(value))
    return weight


def _model(weights: list[str], external: list[TensorProto]) -> ModelProto:
    """The model without the weights that are inside the file."""
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["expanded"]),
        helper.make_node("ReduceMax", ["expanded"], ["largest"], keepdims=0),
        *(helper.make_node("Gather", [name, "row"], [f"{name}_row"]) for name in weights),
    ]
    graph = helper.make_graph(
        nodes,
        "oversized",
        [
            helper.make_tensor_value_info("row", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("largest", TensorProto.FLOAT, []),
            *(
                helper.make_tensor_value_info(f"{name}_row", TensorProto.FLOAT, [1, _COLUMNS])
                for name in weights
            ),
        ],
        [one, *external],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _head_of_inline(name: str, rows: int) -> bytes:
    """What goes between a serialised model and the bytes of one more weight.

    Concatenated messages merge (protobuf encoding, "Last One Wins"): a second `ModelProto` with a
    graph of nothing but an initializer adds that initializer. `raw_data` is its last field, so its
    bytes can follow as a hole.
    """
    size = rows * ROW_BYTES
    head = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[rows, _COLUMNS])
    fields: bytes = head.SerializeToString()
    tensor = fields + _length_delimited(TensorProto.RAW_DATA_FIELD_NUMBER, size)
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
