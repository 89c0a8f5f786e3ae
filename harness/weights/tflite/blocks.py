"""The parts of a decoder as TensorFlow Lite operators.

Attention has the layout of google-ai-edge/litert-torch for `KV_LAYOUT_TRANSPOSED`
(litert_torch/generative/layers/sdpa_with_kv_update.py): query heads that share keys become rows of
one product, keys are `[1, kv_heads, positions, head_dim]` and values
`[1, kv_heads, head_dim, positions]`, so that neither is transposed again for any token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from harness.weights.tflite import parameters
from harness.weights.tflite.schema import Op

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.tflite.graph import Graph, Value, Weight

EPSILON: Final = 1e-6
# What stands for "do not look" in masks, as the engines fill theirs (LiteRT-LM, LiteRT-torch).
MASKED: Final = -45824.0


class Memory(Protocol):
    """Where the keys and values of a layer come from beside the current tokens."""

    def extend(self, key: Value, value: Value, layer: int) -> tuple[Value, Value]:
        """All keys and values of a layer, the new ones included.

        Args:
            key: `[1, kv_heads, tokens, head_dim]`.
            value: `[1, kv_heads, head_dim, tokens]`.
            layer: Counted from 0.
        """


@dataclass(frozen=True, slots=True)
class Angles:
    """Cosines and sines of rotary positions: `[1, tokens, 1, head_dim / 2]`."""

    cos: Value
    sin: Value


@dataclass(frozen=True, slots=True)
class Position:
    """What a layer needs to know about where its tokens stand.

    Attributes:
        angles: For layers that attend to the whole context.
        local_angles: For those with a window.
        mask: Added to scores, `[1, 1, tokens, context]`.
        local_mask: The same where only a window is seen.
    """

    angles: Angles
    local_angles: Angles
    mask: Value
    local_mask: Value


@dataclass(frozen=True, slots=True)
class Blocks:
    """Adds parts of `model` to `graph`, for `tokens` tokens at a time."""

    graph: Graph
    model: Architecture
    quantisation: str
    tokens: int

    def norm(self, x: Value, name: str, *, final: bool = False) -> Value:
        """Root-mean-square normalisation over the last axis, times a weight."""
        graph = self.graph
        mean = graph.mean(graph.multiply(x, x))
        factor = graph.unary(Op.RSQRT, graph.add(mean, EPSILON))
        weight = graph.weight(parameters.norm(name, x.shape[-1], final=final))
        return graph.multiply(graph.multiply(x, factor), weight)

    def linear(self, x: Value, name: str, rows: int, bias: Weight | None = None) -> Value:
        """A product with a matrix of the layer."""
        weight = parameters.matrix(self.quantisation, name, rows, x.shape[-1])
        return self.graph.linear(x, weight, bias)

    def softcap(self, x: Value, cap: float) -> Value:
        """`cap * tanh(x / cap)`."""
        graph = self.graph
        return graph.multiply(graph.unary(Op.TANH, graph.multiply(x, 1 / cap)), cap)

    def angles(self, positions: Value, base: float) -> Angles:
        """Rotary angles of float32 positions `[tokens]`."""
        graph = self.graph
        frequencies = rotary_frequencies(self.model.head_dim, base).astype(np.float32)
        column = graph.reshape(positions, 1, self.tokens, 1, 1)
        angles = graph.multiply(column, graph.constant(frequencies.reshape(1, 1, 1, -1)))
        return Angles(graph.unary(Op.COS, angles), graph.unary(Op.SIN, angles))

    def rotated(self, x: Value, angles: Angles) -> Value:
        """Heads `[1, tokens, heads, head_dim]` turned by their positions, half against half."""
        graph = self.graph
        left, right = graph.halves(x)
        turned = (
            graph.subtract(graph.multiply(left, angles.cos), graph.multiply(right, angles.sin)),
            graph.add(graph.multiply(right, angles.cos), graph.multiply(left, angles.sin)),
        )
        return graph.concatenate(turned, 3)

    def heads(self, x: Value, layer: int, part: str, count: int) -> Value:
        """One of q, k, v: `[1, tokens, count, head_dim]`."""
        model, name = self.model, f"layers.{layer}.{part}_proj"
        width = count * model.head_dim
        bias = parameters.bias(f"{name}.bias", width) if model.qkv_bias else None
        made = self.graph.reshape(
            self.linear(x, name, width, bias), 1, self.tokens, count, model.head_dim
        )
        if model.qk_norm and part in ("q", "k"):
            made = self.norm(made, f"layers.{layer}.{part}_norm")
        return made

    def key_and_value(
        self, x: Value, layer: int, position: Position, memory: Memory
    ) -> tuple[Value, Value]:
        """All keys and values that a layer attends to."""
        graph, kv_heads = self.graph, self.model.kv_heads
        angles, _ = self._kind(layer, position)
        key = self.rotated(self.heads(x, layer, "k", kv_heads), angles)
        value = self.heads(x, layer, "v", kv_heads)
        return memory.extend(
            graph.transpose(key, 0, 2, 1, 3), graph.transpose(value, 0, 2, 3, 1), layer
        )

    def attention(self, x: Value, layer: int, position: Position, memory: Memory) -> Value:
        """Grouped attention of the tokens to themselves and to what is remembered."""
        graph, model = self.graph, self.model
        angles, mask = self._kind(layer, position)
        key, value = self.key_and_value(x, layer, position, memory)
        query = self.rotated(self.heads(x, layer, "q", model.heads), angles)
        query = graph.multiply(query, model.head_dim**-0.5)
        # Heads that share keys follow each other, so that they are the rows of one product.
        rows = model.heads // model.kv_heads * self.tokens
        query = graph.reshape(
            graph.transpose(query, 0, 2, 1, 3), 1, model.kv_heads, rows, model.head_dim
        )
        scores = graph.matmul(query, key)
        context = scores.shape[-1]
        if model.attention_softcap:
            scores = self.softcap(scores, model.attention_softcap)
        scores = graph.reshape(scores, 1, model.heads, self.tokens, context)
        shares = graph.softmax(graph.add(scores, mask))
        shares = graph.reshape(shares, 1, model.kv_heads, rows, context)
        out = graph.reshape(
            graph.matmul(shares, value), 1, model.heads, self.tokens, model.head_dim
        )
        out = graph.transpose(out, 0, 2, 1, 3)
        out = graph.reshape(out, 1, self.tokens, model.query_width)
        return self.linear(out, f"layers.{layer}.o_proj", model.hidden)

    def feed_forward(self, x: Value, layer: int) -> Value:
        """The gated feed-forward part."""
        graph, model, name = self.graph, self.model, f"layers.{layer}"
        gate = self.linear(x, f"{name}.gate_proj", model.ffn)
        up = self.linear(x, f"{name}.up_proj", model.ffn)
        if model.activation == "silu":
            active = graph.multiply(gate, graph.unary(Op.LOGISTIC, gate))
        else:
            active = graph.gelu(gate, tanh=model.activation == "gelu_tanh")
        return self.linear(graph.multiply(active, up), f"{name}.down_proj", model.hidden)

    def layer(self, x: Value, layer: int, position: Position, memory: Memory) -> Value:
        """One layer, from residual stream to residual stream."""
        name, post = f"layers.{layer}", self.model.post_norms
        delta = self.attention(self.norm(x, f"{name}.input_norm"), layer, position, memory)
        if post:
            delta = self.norm(delta, f"{name}.post_attention_norm")
        x = self.graph.add(x, delta)
        delta = self.feed_forward(self.norm(x, f"{name}.feed_forward_norm"), layer)
        if post:
            delta = self.norm(delta, f"{name}.post_feed_forward_norm")
        return self.graph.add(x, delta)

    def _kind(self, layer: int, position: Position) -> tuple[Angles, Value]:
        """Angles and mask of a layer."""
        if self.model.is_global_layer(layer):
            return position.angles, position.mask
        return position.local_angles, position.local_mask


def rotary_frequencies(head_dim: int, base: float) -> np.ndarray:
    """Radians a position, for each pair of a head's elements (RoFormer, section 3.4.2)."""
    half = head_dim // 2
    return base ** (-np.arange(half, dtype=np.float64) / half)


def embedding_factor(model: Architecture) -> float:
    """What rows of the table are multiplied by to have a variance of one.

    Gemma does it; for the others random weights need it as well.
    """
    return math.sqrt(model.hidden)
