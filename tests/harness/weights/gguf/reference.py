"""The models again, in numpy, from their published equations: nothing of the writer is used.

Weights come from the GGUF file, read and dequantised by llama.cpp's own Python package. There is no
key/value cache: every call computes the whole sequence, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, dequantize

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.artifact import Artifact

Matrix = npt.NDArray[np.float64]


def read_weights(artifact: Artifact) -> dict[str, Matrix]:
    """All tensors of all files by name: matrices as `[outputs, inputs]`."""
    return {
        tensor.name: dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
        for file in artifact.files
        for tensor in GGUFReader(artifact.directory / file.name).tensors
    }


class Reference:
    """Computes logits `[sequence, vocabulary]` of a token sequence."""

    def __init__(self, shape: Architecture, artifact: Artifact) -> None:
        self.shape = shape
        self.weights = read_weights(artifact)

    def norm(self, x: Matrix, name: str) -> Matrix:
        # The file holds 1 + weight for Gemma, so that all families multiply by what is stored.
        size: Matrix = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x / size * self.weights[f"{name}.weight"]

    def project(self, x: Matrix, name: str) -> Matrix:
        y: Matrix = x @ self.weights[f"{name}.weight"].T
        return y + self.weights[f"{name}.bias"] if f"{name}.bias" in self.weights else y

    def embed(self, tokens: list[int]) -> Matrix:
        x = self.weights["token_embd.weight"][tokens]
        return x if self.shape.family == "qwen2" else x * np.sqrt(self.shape.hidden)

    def rotate(self, x: Matrix, base: float) -> Matrix:
        """Rotary positions of `x [heads, sequence, head_dim]`; halves of a head are paired."""
        _, length, width = x.shape
        angle = np.arange(length)[:, None] * base ** (-np.arange(0, width, 2) / width)
        cos, sin = np.cos(angle), np.sin(angle)
        first, second = x[..., : width // 2], x[..., width // 2 :]
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)

    def is_local(self, layer: int) -> bool:
        """Gemma 2: every second layer from the first on. Gemma 3: five of six."""
        return {"gemma2": layer % 2 == 0, "gemma3": layer % 6 != 5}.get(self.shape.family, False)

    def attention(self, x: Matrix, layer: int) -> Matrix:
        shape, name = self.shape, f"blk.{layer}"
        length = len(x)
        parts = {}
        for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            y = self.project(x, f"{name}.attn_{part}").reshape(length, heads, shape.head_dim)
            if shape.family == "gemma3" and part != "v":
                y = self.norm(y, f"{name}.attn_{part}_norm")
            parts[part] = y.transpose(1, 0, 2)
        local = self.is_local(layer)
        base = shape.rope_theta
        if shape.family == "gemma3" and local:
            base = 10_000.0
        query, key = self.rotate(parts["q"], base), self.rotate(parts["k"], base)
        group = shape.heads // shape.kv_heads
        key, value = np.repeat(key, group, axis=0), np.repeat(parts["v"], group, axis=0)
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(shape.head_dim)
        if shape.family == "gemma2":
            scores = 50.0 * np.tanh(scores / 50.0)
        distance = np.arange(length)[:, None] - np.arange(length)[None, :]
        hidden = distance < 0
        if local:
            assert shape.sliding_window is not None
            hidden |= distance >= shape.sliding_window
        scores = np.where(hidden, -np.inf, scores)
        weight = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        joined = (weight @ value).transpose(1, 0, 2).reshape(length, -1)
        return self.project(joined, f"{name}.attn_output")

    def feed_forward(self, x: Matrix, layer: int) -> Matrix:
        name = f"blk.{layer}"
        gate = self.project(x, f"{name}.ffn_gate")
        if self.shape.family == "qwen2":
            active = gate / (1 + np.exp(-gate))
        else:
            inner = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
            active = 0.5 * gate * (1 + np.tanh(inner))
        return self.project(active * self.project(x, f"{name}.ffn_up"), f"{name}.ffn_down")

    def logits(self, tokens: list[int]) -> Matrix:
        x = self.embed(tokens)
        post = self.shape.family in ("gemma2", "gemma3")
        for layer in range(self.shape.layers):
            name = f"blk.{layer}"
            delta = self.attention(self.norm(x, f"{name}.attn_norm"), layer)
            x = x + (self.norm(delta, f"{name}.post_attention_norm") if post else delta)
            delta = self.feed_forward(self.norm(x, f"{name}.ffn_norm"), layer)
            x = x + (self.norm(delta, f"{name}.post_ffw_norm") if post else delta)
        table = "output" if "output.weight" in self.weights else "token_embd"
        logits = self.project(self.norm(x, "output_norm"), table)
        return 30.0 * np.tanh(logits / 30.0) if self.shape.family == "gemma2" else logits

    def log_probabilities(self, tokens: list[int]) -> npt.NDArray[np.float64]:
        """Of each id after the sequence."""
        logits = self.logits(tokens)[-1]
        shifted = logits - logits.max()
        result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
        return result
