"""Reads a `.tflite` with the schema that LiteRT itself ships: nothing of the writer is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

Matrix = npt.NDArray[np.float64]
_FLOATS: dict[int, Any] = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: "<f2"}


@dataclass(frozen=True)
class Stored:
    """A file, unpacked.

    Attributes:
        model: All tables.
        weights: Every weight by name, dequantised.
        quantised: Names of those that are stored as integers.
    """

    model: Any
    weights: dict[str, Matrix]
    quantised: frozenset[str]

    def signatures(self) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
        """By key: shapes and types of the inputs and of the outputs, by name."""
        found = {}
        for signature in self.model.signatureDefs:
            graph = self.model.subgraphs[signature.subgraphIndex]
            named = [
                {
                    part.name.decode(): (
                        tuple(graph.tensors[part.tensorIndex].shape),
                        graph.tensors[part.tensorIndex].type,
                    )
                    for part in parts
                }
                for parts in (signature.inputs, signature.outputs)
            ]
            found[signature.signatureKey.decode()] = (named[0], named[1])
        return found


def read(content: bytes) -> Stored:
    """Unpack a file, its weights included."""
    model = schema.ModelT.InitFromPackedBuf(content)
    weights: dict[str, Matrix] = {}
    quantised = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if model.buffers[tensor.buffer].offset == 0:
                continue
            name = tensor.name.decode()
            if name not in weights:
                weights[name] = _values(model, graph, tensor, content)
            if tensor.type in (schema.TensorType.INT8, schema.TensorType.INT4):
                quantised.add(name)
    return Stored(model, weights, frozenset(quantised))


def _values(model: Any, graph: Any, tensor: Any, content: bytes) -> Matrix:
    buffer = model.buffers[tensor.buffer]
    raw = content[buffer.offset : buffer.offset + buffer.size]
    assert len(raw) == buffer.size
    shape = tuple(tensor.shape)
    if tensor.type in _FLOATS:
        return np.frombuffer(raw, _FLOATS[tensor.type]).reshape(shape).astype(np.float64)
    packed = np.frombuffer(raw, np.int8)
    if tensor.type == schema.TensorType.INT4:
        packed = np.stack([(packed << 4).astype(np.int8) >> 4, packed >> 4], axis=-1)
    codes = packed.reshape(shape).astype(np.float64)
    quantisation = tensor.quantization
    if quantisation.details is None:
        assert not np.any(quantisation.zeroPoint)
        factors: Matrix = quantisation.scale.astype(np.float64)[:, None]
    else:
        assert quantisation.details.zeroPoints == -1
        scales = graph.tensors[quantisation.details.scales]
        blocks = _bfloat16(_values(model, graph, scales, content))
        factors = np.repeat(blocks, quantisation.details.blockSize, axis=1)
    return codes * factors


def _bfloat16(values: Matrix) -> Matrix:
    """Rounded as XNNPACK keeps the factors of blocks, whatever they are stored in."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return rounded.view(np.float32).astype(np.float64)
