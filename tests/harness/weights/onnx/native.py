"""A decoder loop on native onnxruntime, for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from harness.weights.artifact import Artifact

Logits = npt.NDArray[np.float32]


class Native:
    """One session with its key/value cache. `feed` returns logits `[fed tokens, vocabulary]`."""

    def __init__(self, artifact: Artifact) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(artifact.entry_path), options, providers=["CPUExecutionProvider"]
        )
        kind = np.float32 if artifact.float_type == "fp32" else np.float16
        empty = np.zeros((1, artifact.shape["kv_heads"], 0, artifact.shape["head_dim"]), kind)
        self.cache: dict[str, Any] = {
            f"past_key_values.{layer}.{part}": empty
            for layer in range(artifact.shape["layers"])
            for part in ("key", "value")
        }
        self.length = 0

    def feed(self, tokens: list[int]) -> Logits:
        self.length += len(tokens)
        feeds = {
            **self.cache,
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, self.length), np.int64),
        }
        names = [output.name for output in self.session.get_outputs()]
        results = dict(zip(names, self.session.run(names, feeds), strict=True))
        logits: Logits = results.pop("logits")[0]
        self.cache = {
            name.replace("present", "past_key_values"): value for name, value in results.items()
        }
        return logits


def greedy(artifact: Artifact, prompt: list[int], count: int) -> list[int]:
    """The `count` most likely tokens after `prompt`, one after the other."""
    model = Native(artifact)
    tokens: list[int] = []
    fed = prompt
    for _ in range(count):
        tokens.append(int(model.feed(fed)[-1].argmax()))
        fed = tokens[-1:]
    return tokens
