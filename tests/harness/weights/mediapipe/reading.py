"""Reads a container with TensorFlow Lite's own schema, which the writer does not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass
class Stored:
    """A tensor as the file has it."""

    type: int
    data: bytes


@dataclass
class Container:
    """Everything in a container, by name."""

    tensors: dict[str, Stored]
    metadata: dict[str, bytes]
    kind: int


def read(content: bytes) -> Container:
    """Parse a container; `content` begins with its FlatBuffer."""
    assert content[4:8] == b"TFL3"
    model = schema.Model.GetRootAs(content)
    assert model.Version() == 3
    assert model.SubgraphsLength() == 1
    graph = model.Subgraphs(0)
    assert graph.OperatorsLength() == 0

    def data(number: int) -> bytes:
        buffer = model.Buffers(number)
        assert buffer.Offset() + buffer.Size() <= len(content)
        return content[buffer.Offset() : buffer.Offset() + buffer.Size()]

    tensors = {}
    for number in range(graph.TensorsLength()):
        tensor = graph.Tensors(number)
        stored = Stored(tensor.Type(), data(tensor.Buffer()))
        assert tensor.ShapeAsNumpy().tolist() == [len(stored.data)]
        tensors[tensor.Name().decode()] = stored
    assert len(tensors) == graph.TensorsLength()
    metadata, kind = {}, 0
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        name = entry.Name().decode()
        if name == "odml.infra.LlmModelType":
            kind = entry.Buffer()
        else:
            metadata[name] = data(entry.Buffer())
    return Container(tensors, metadata, kind)


_BITS = {schema.TensorType.INT8: 8, schema.TensorType.INT4: 4, schema.TensorType.INT2: 2}


def codes(stored: Stored, rows: int) -> npt.NDArray[np.int64]:
    """The integers of a matrix, `[rows, columns]`."""
    return unpacked(stored.data, _BITS[stored.type]).reshape(rows, -1)


def unpacked(data: bytes, bits: int) -> npt.NDArray[np.int64]:
    """Integers of `bits` bits, the lowest of a byte first."""
    raw = np.frombuffer(data, np.uint8).astype(np.int64)
    fields = (raw[:, None] >> np.arange(0, 8, bits)) & (1 << bits) - 1
    return np.where(fields >= 1 << bits - 1, fields - (1 << bits), fields).ravel()


def floats(stored: Stored) -> npt.NDArray[np.float32]:
    """A vector of float32."""
    assert stored.type == schema.TensorType.FLOAT32
    return np.frombuffer(stored.data, np.float32)


def sums(stored: Stored) -> npt.NDArray[np.int32]:
    """A vector of int32."""
    assert stored.type == schema.TensorType.INT32
    return np.frombuffer(stored.data, np.int32)
