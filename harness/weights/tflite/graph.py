"""A graph whose weights are still descriptions, and the operators to build it from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.weights.tflite.schema import (
    ASYMMETRIC_INPUTS,
    KEEP_DIMENSIONS,
    KEEP_REDUCED,
    TANH_APPROXIMATION,
    TRANSPOSED_RIGHT,
    Op,
    Option,
    TensorType,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from harness.weights.tensors import TensorSpec

_NUMPY_TYPES = {
    np.dtype(np.float32): TensorType.FLOAT32,
    np.dtype(np.int32): TensorType.INT32,
}


@dataclass(frozen=True, slots=True)
class Weight:
    """A constant that is stored behind the FlatBuffer, once for all graphs of a file.

    Attributes:
        name: Unique in the file.
        content: Its bytes, behind `zeros` bytes that are zero.
        channel_scales: One factor for each row, float32; they lie in the FlatBuffer.
        block_scales: One factor for each block of a row, float16; a weight of its own.
    """

    name: str
    type: TensorType
    shape: tuple[int, ...]
    content: TensorSpec
    zeros: int = 0
    channel_scales: TensorSpec | None = None
    block_scales: Weight | None = None

    @property
    def bytes(self) -> int:
        """Stored size."""
        return self.zeros + self.content.bytes

    @property
    def block(self) -> int:
        """How many weights share a factor of `block_scales`; 0 without them."""
        if self.block_scales is None:
            return 0
        return math.prod(self.shape) // math.prod(self.block_scales.shape)


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of one graph: its number there, and what flows through it."""

    number: int
    shape: tuple[int, ...]
    type: TensorType = TensorType.FLOAT32


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the schema has it; a constant is a weight or small bytes of its own."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    constant: Weight | bytes | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """One operator with the numbers of its tensors."""

    op: Op
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[Option, ...] = ()


@dataclass
class Graph:
    """One subgraph with its signature; methods named as operators add them.

    Attributes:
        key: Name of the signature.
        inputs, outputs: Names in the signature, and the tensors they stand for, in order.
    """

    key: str
    tensors: list[Tensor] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)
    _constants: dict[object, Value] = field(default_factory=dict)

    def input(
        self,
        name: str,
        shape: tuple[int, ...],
        type: TensorType = TensorType.FLOAT32,  # noqa: A002
    ) -> Value:
        """What is given to the graph under `name`."""
        value = self._tensor(Tensor(f"{self.key}_{name}", shape, type))
        self.inputs[name] = value
        return value

    def output(self, name: str, value: Value) -> None:
        """Give `value` back under `name`."""
        self.outputs[name] = value

    def weight(self, weight: Weight) -> Value:
        """A stored constant."""
        if weight not in self._constants:
            if weight.block_scales:
                self.weight(weight.block_scales)
            self._constants[weight] = self._tensor(
                Tensor(weight.name, weight.shape, weight.type, weight)
            )
        return self._constants[weight]

    def constant(self, content: npt.NDArray[Any]) -> Value:
        """A small constant in the FlatBuffer: float32 or int32."""
        kind, stored = _NUMPY_TYPES[content.dtype], content.tobytes()
        key = (kind, content.shape, stored)
        if key not in self._constants:
            name = f"{self.key}_constant_{len(self._constants)}"
            self._constants[key] = self._tensor(Tensor(name, content.shape, kind, stored))
        return self._constants[key]

    def number_of(self, weight: Weight) -> int:
        """The number of a weight that has been used here."""
        return self._constants[weight].number

    def _tensor(self, tensor: Tensor) -> Value:
        self.tensors.append(tensor)
        return Value(len(self.tensors) - 1, tensor.shape, tensor.type)

    def _node(
        self,
        op: Op,
        inputs: Sequence[Value],
        shape: tuple[int, ...],
        *options: Option,
        type: TensorType = TensorType.FLOAT32,  # noqa: A002
    ) -> Value:
        (value,) = self._nodes(op, inputs, (shape,), *options, type=type)
        return value

    def _nodes(
        self,
        op: Op,
        inputs: Sequence[Value],
        shapes: Sequence[tuple[int, ...]],
        *options: Option,
        type: TensorType = TensorType.FLOAT32,  # noqa: A002
    ) -> tuple[Value, ...]:
        name = f"{self.key}_{len(self.nodes)}_{op.name.lower()}"
        made = tuple(self._tensor(Tensor(name, shape, type)) for shape in shapes)
        numbers = tuple(value.number for value in inputs)
        self.nodes.append(Node(op, numbers, tuple(value.number for value in made), options))
        return made

    # -- Operators

    def _broadcast(self, op: Op, left: Value, right: Value | float) -> Value:
        other = right if isinstance(right, Value) else self.scalar(right)
        shape = tuple(int(size) for size in np.broadcast_shapes(left.shape, other.shape))
        return self._node(op, (left, other), shape)

    def scalar(self, number: float) -> Value:
        """A float32 of shape `[1]`, which every engine broadcasts."""
        return self.constant(np.array([number], np.float32))

    def add(self, left: Value, right: Value | float) -> Value:
        """`left + right`."""
        return self._broadcast(Op.ADD, left, right)

    def subtract(self, left: Value, right: Value | float) -> Value:
        """`left - right`."""
        return self._broadcast(Op.SUB, left, right)

    def multiply(self, left: Value, right: Value | float) -> Value:
        """`left * right`, element by element."""
        return self._broadcast(Op.MUL, left, right)

    def minimum(self, left: Value, right: Value | float) -> Value:
        """The smaller of both, element by element."""
        return self._broadcast(Op.MINIMUM, left, right)

    def unary(self, op: Op, value: Value, *options: Option) -> Value:
        """An operator that changes each element for itself."""
        return self._node(op, (value,), value.shape, *options)

    def gelu(self, value: Value, *, tanh: bool) -> Value:
        """GELU; `tanh` is its approximation."""
        return self.unary(Op.GELU, value, *((TANH_APPROXIMATION,) if tanh else ()))

    def softmax(self, value: Value) -> Value:
        """Over the last axis."""
        return self.unary(Op.SOFTMAX, value, Option(0, "float32", 1.0))

    def cast(self, value: Value) -> Value:
        """int32 to float32."""
        options = (Option(0, "int8", value.type), Option(1, "int8", TensorType.FLOAT32))
        return self._node(Op.CAST, (value,), value.shape, *options)

    def mean(self, value: Value) -> Value:
        """Over the last axis, which stays with a length of 1."""
        axis = self.constant(np.array([len(value.shape) - 1], np.int32))
        return self._node(Op.MEAN, (value, axis), (*value.shape[:-1], 1), KEEP_REDUCED)

    def reshape(self, value: Value, *shape: int) -> Value:
        """The same elements in the same order."""
        if shape == value.shape:
            return value
        wanted = self.constant(np.array(shape, np.int32))
        return self._node(Op.RESHAPE, (value, wanted), shape, type=value.type)

    def transpose(self, value: Value, *order: int) -> Value:
        """Axes in another order."""
        shape = tuple(value.shape[axis] for axis in order)
        return self._node(Op.TRANSPOSE, (value, self.constant(np.array(order, np.int32))), shape)

    def halves(self, value: Value) -> tuple[Value, Value]:
        """The first and the second half of the last axis."""
        axis = self.constant(np.array(len(value.shape) - 1, np.int32))
        shape = (*value.shape[:-1], value.shape[-1] // 2)
        left, right = self._nodes(Op.SPLIT, (axis, value), (shape, shape), Option(0, "int32", 2))
        return left, right

    def concatenate(self, values: Sequence[Value], axis: int) -> Value:
        """Joined along `axis`, which counts from 0."""
        shape = list(values[0].shape)
        shape[axis] = sum(value.shape[axis] for value in values)
        return self._node(
            Op.CONCATENATION,
            values,
            tuple(shape),
            Option(0, "int32", axis),
            type=values[0].type,
        )

    def first(self, value: Value) -> Value:
        """The first element of a vector, as a vector."""
        if value.shape == (1,):
            return value
        bounds = (self.constant(np.array([at], np.int32)) for at in (0, 1))
        return self._node(Op.SLICE, (value, *bounds), (1,), type=value.type)

    def update(self, cache: Value, piece: Value, start: Value) -> Value:
        """`cache` with `piece` written over it from the indices `start` on."""
        return self._node(Op.DYNAMIC_UPDATE_SLICE, (cache, piece, start), cache.shape)

    def matmul(self, left: Value, right: Value) -> Value:
        """`left` times the transpose of `right`, for each of the leading indices."""
        shape = (*left.shape[:-1], right.shape[-2])
        return self._node(Op.BATCH_MATMUL, (left, right), shape, TRANSPOSED_RIGHT)

    def linear(self, value: Value, weight: Weight, bias: Weight | None = None) -> Value:
        """`value @ weight.T + bias`; integer weights have the input rounded to int8, row by row."""
        hybrid = weight.type != TensorType.FLOAT32
        inputs = [value, self.weight(weight)]
        if bias:
            inputs.append(self.weight(bias))
        return self._node(
            Op.FULLY_CONNECTED_HYBRID if hybrid else Op.FULLY_CONNECTED,
            inputs,
            (*value.shape[:-1], weight.shape[0]),
            KEEP_DIMENSIONS,
            *((ASYMMETRIC_INPUTS,) if hybrid else ()),
        )

    def lookup(self, ids: Value, table: Weight) -> Value:
        """Rows of a table as float32; `ids` is a vector."""
        hybrid = table.type != TensorType.FLOAT32
        op = Op.EMBEDDING_LOOKUP_QUANTISED if hybrid else Op.EMBEDDING_LOOKUP
        return self._node(op, (ids, self.weight(table)), (ids.shape[0], table.shape[1]))
