"""The models again, in numpy, from their published equations: nothing of the writer is used.

Every call computes the whole sequence, in float64, without a key/value cache. Matrices that are
stored as integers see their input as XNNPACK does: each row rounded to int8 with a factor and a
zero point of its own (google/XNNPACK:src/xnnpack/quantization.h,
`xnn_f32_qd8_asymmetric_quantization_params`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from harness.models import Architecture
    from tests.harness.weights.tflite.stored import Matrix, Stored

    Positions = npt.NDArray[np.int_]


def rounded(rows: Matrix) -> Matrix:
    """Each row as it is after rounding to int8 and back."""
    low = np.minimum(rows.min(axis=-1, keepdims=True), 0)
    high = np.maximum(rows.max(axis=-1, keepdims=True), 0)
    scale = np.where(low == high, 1.0, 255 / np.where(low == high, 1, high - low))
    nearer_low = (-128 + low * scale) + (127 + high * scale) > 0
    zero = np.rint(np.clip(np.where(nearer_low, -128 - low * scale, 127 - high * scale), -128, 127))
    codes = np.clip(np.rint(rows * scale) + zero, -128, 127)
    values: Matrix = (codes - zero) / scale
    return values


class Reference:
    """One model with the weights of a file."""

    def __init__(self, shape: Architecture, stored: Stored) -> None:
        self.shape = shape
        self.stored = stored

    def logits(self, tokens: list[int]) -> Matrix:
        """`[sequence, vocabulary]`."""
        shape = self.shape
        x = self.stored.weights["embedding"][tokens] * math.sqrt(shape.hidden)
        positions = np.arange(len(tokens))
        for layer in range(shape.layers):
            x = self.layer(x, layer, positions)
        x = self.norm(x, "final_norm")
        out = self.linear(x, "embedding" if shape.tied_embeddings else "head")
        if shape.final_softcap:
            out = shape.final_softcap * np.tanh(out / shape.final_softcap)
        return out

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        """The `count` most likely tokens after `prompt`, one after the other."""
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self.logits(tokens)[-1].argmax()))
        return tokens[len(prompt) :]

    def norm(self, x: Matrix, name: str) -> Matrix:
        x = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x * self.stored.weights[name]

    def linear(self, x: Matrix, name: str) -> Matrix:
        if name in self.stored.quantised:
            x = rounded(x)
        out = x @ self.stored.weights[name].T
        return out + self.stored.weights.get(f"{name}.bias", 0)

    def rotated(self, x: Matrix, positions: Positions, base: float) -> Matrix:
        """`[positions, heads, head_dim]`, turned."""
        half = x.shape[-1] // 2
        angles = positions[:, None] * base ** (-np.arange(half) / half)
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        left, right = x[..., :half], x[..., half:]
        return np.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1)

    def layer(
        self,
        x: Matrix,
        layer: int,
        positions: Positions,
        past: tuple[Matrix, Matrix] | None = None,
    ) -> Matrix:
        """One layer; `past` is keys and values `[positions, kv_heads, head_dim]`."""
        shape, name = self.shape, f"layers.{layer}"
        normed = self.norm(x, f"{name}.input_norm")
        heads = {
            part: self.linear(normed, f"{name}.{part}_proj").reshape(len(x), -1, shape.head_dim)
            for part in "qkv"
        }
        if shape.qk_norm:
            heads |= {part: self.norm(heads[part], f"{name}.{part}_norm") for part in "qk"}
        everywhere = shape.is_global_layer(layer)
        base = shape.rope_theta if everywhere else shape.rope_theta_local or shape.rope_theta
        heads |= {part: self.rotated(heads[part], positions, base) for part in "qk"}
        keys, values = heads["k"], heads["v"]
        seen = np.arange(positions[-1] + 1)
        if past:
            keys = np.concatenate([past[0], keys])
            values = np.concatenate([past[1], values])
        group = shape.heads // shape.kv_heads
        keys, values = np.repeat(keys, group, axis=1), np.repeat(values, group, axis=1)
        scores = np.einsum("qhd,khd->hqk", heads["q"], keys) / math.sqrt(shape.head_dim)
        if shape.attention_softcap:
            scores = shape.attention_softcap * np.tanh(scores / shape.attention_softcap)
        back = positions[:, None] - seen
        allowed = back >= 0
        if not everywhere and shape.sliding_window:
            allowed &= back < shape.sliding_window
        scores = np.where(allowed, scores, -np.inf)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        out = np.einsum("hqk,khd->qhd", shares, values).reshape(len(x), -1)
        delta = self.linear(out, f"{name}.o_proj")
        x = x + (self.norm(delta, f"{name}.post_attention_norm") if shape.post_norms else delta)
        normed = self.norm(x, f"{name}.feed_forward_norm")
        gate = self.linear(normed, f"{name}.gate_proj")
        if shape.activation == "silu":
            active = gate / (1 + np.exp(-gate))
        else:
            inner = math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)
            active = 0.5 * gate * (1 + np.tanh(inner))
        delta = self.linear(active * self.linear(normed, f"{name}.up_proj"), f"{name}.down_proj")
        return x + (
            self.norm(delta, f"{name}.post_feed_forward_norm") if shape.post_norms else delta
        )
