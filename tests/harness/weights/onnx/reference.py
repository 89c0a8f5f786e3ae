"""The models again, in numpy, from their published equations: nothing of the writer is used.

Weights come from the ONNX file's initializers and external data, which are read and dequantised
here. There is no key/value cache: every call computes the whole sequence, in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnx

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.artifact import Artifact

Matrix = npt.NDArray[np.float64]
_TYPES: dict[int, Any] = {
    onnx.TensorProto.UINT8: np.uint8,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.FLOAT: np.float32,
}


def read_weights(artifact: Artifact) -> dict[str, npt.NDArray[Any]]:
    """All external tensors by name, read as the ONNX specification says."""
    model = onnx.ModelProto()
    model.ParseFromString(artifact.entry_path.read_bytes())
    weights = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        data = (artifact.directory / where["location"]).read_bytes()
        start = int(where["offset"])
        piece = data[start : start + int(where["length"])]
        shape = tuple(tensor.dims)
        weights[tensor.name] = np.frombuffer(piece, _TYPES[tensor.data_type]).reshape(shape)
    return weights


def dequantise(codes: npt.NDArray[Any], scales: npt.NDArray[Any]) -> Matrix:
    """`[rows, blocks, bytes]` and `[rows, blocks]` to `[rows, columns]`; blocks of 32."""
    rows, blocks, width = codes.shape
    if width == 16:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(rows, blocks, 32)
        zero = 8
    else:
        zero = 128
    values = (codes.astype(np.float64) - zero) * scales.astype(np.float64).reshape(rows, blocks, 1)
    return values.reshape(rows, blocks * 32)


class Reference:
    """Computes logits `[sequence, vocabulary]` of a token sequence."""

    def __init__(self, shape: Architecture, artifact: Artifact) -> None:
        self.shape = shape
        self.weights = read_weights(artifact)

    def matrix(self, name: str) -> Matrix:
        """A matrix as `[outputs, inputs]`."""
        if f"{name}.codes" in self.weights:
            return dequantise(self.weights[f"{name}.codes"], self.weights[f"{name}.scales"])
        weight = self.weights[f"{name}.weight"].astype(np.float64)
        return weight if name in ("lm_head", "embed") else weight.T

    def norm(self, x: Matrix, name: str) -> Matrix:
        weight = self.weights[f"{name}.weight"].astype(np.float64)
        size: Matrix = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return x / size * weight

    def embed(self, tokens: list[int]) -> Matrix:
        table = "lm_head" if self.shape.tied_embeddings else "embed"
        if "embed.scales_3d" in self.weights:
            codes = self.weights[f"{table}.codes"]
            rows = dequantise(codes, self.weights["embed.scales_3d"])
        else:
            rows = self.matrix(table)
        x = rows[tokens]
        if self.shape.family in ("gemma", "gemma2", "gemma3"):
            x = x * np.sqrt(self.shape.hidden)
        return x

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
        shape, name = self.shape, f"layers.{layer}"
        length = len(x)
        parts = {}
        for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
            y = x @ self.matrix(f"{name}.{part}_proj").T
            if shape.family == "qwen2":
                y = y + self.weights[f"{name}.{part}_proj.bias"].astype(np.float64)
            y = y.reshape(length, heads, shape.head_dim)
            if shape.family == "gemma3" and part != "v":
                y = self.norm(y, f"{name}.{part}_norm")
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
        result: Matrix = joined @ self.matrix(f"{name}.o_proj").T
        return result

    def feed_forward(self, x: Matrix, layer: int) -> Matrix:
        name = f"layers.{layer}"
        gate = x @ self.matrix(f"{name}.gate_proj").T
        if self.shape.family == "qwen2":
            active = gate / (1 + np.exp(-gate))
        else:
            inner = np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)
            active = 0.5 * gate * (1 + np.tanh(inner))
        up = x @ self.matrix(f"{name}.up_proj").T
        result: Matrix = (active * up) @ self.matrix(f"{name}.down_proj").T
        return result

    def logits(self, tokens: list[int]) -> Matrix:
        x = self.embed(tokens)
        post = self.shape.family in ("gemma2", "gemma3")
        for layer in range(self.shape.layers):
            name = f"layers.{layer}"
            delta = self.attention(self.norm(x, f"{name}.input_norm"), layer)
            x = x + (self.norm(delta, f"{name}.post_attention_norm") if post else delta)
            delta = self.feed_forward(self.norm(x, f"{name}.feed_forward_norm"), layer)
            x = x + (self.norm(delta, f"{name}.post_feed_forward_norm") if post else delta)
        logits = self.norm(x, "final_norm") @ self.matrix("lm_head").T
        return 30.0 * np.tanh(logits / 30.0) if self.shape.family == "gemma2" else logits
