"""What may be chosen about a synthetic ONNX model: the recipe of the writer in `writer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UserError, unknown
from harness.models import find_quantisation
from harness.weights.plan import content_key

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.artifact import FloatType
    from harness.weights.plan import ArtifactPlan

# Raise it with every change of the graph, the layout or the random source: keys depend on it.
WRITER_VERSION = 1

# As exported models are stored; others (those of GGUF) have no operators in ONNX.
QUANTISATIONS = ("int4", "int8", "fp16", "fp32")
FAMILIES = ("gemma", "gemma2", "gemma3", "qwen2")

# Each file is one response body, one browser cache entry and, where a runtime wants the bytes, one
# ArrayBuffer, which browsers refuse from 2 GiB on. 512 MiB stays far from that even when a second
# copy is alive, resumes cheaply, and still holds the largest int4 and int8 table of the catalogue's
# 2B models in one piece.
SHARD_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class OnnxRecipe:
    """Choices for the ONNX writer; every one of them changes the bytes, and so the key.

    Attributes:
        quantisation: `int4` or `int8` (blocks of 32, MatMulNBits), `fp16` or `fp32` (plain MatMul).
        float_type: Activations, scales and the key/value cache. `fp32` is for CPU providers, where
            float16 kernels are missing or slow; `fp16` is for WebGPU.
        shard_bytes: No data file is larger, unless a single tensor is.
        alias_layers: Every layer has the bytes of the first one. The file shrinks to about one
            layer and the vocabulary table; a runtime still allocates the full size.
        seed: Decides on all random weights.
        all_logits: Logits for every position instead of the last one only.
        accuracy_level: Of MatMulNBits: 0 leaves the choice to the runtime, 1 asks for float32
            throughout, 4 allows activations to be rounded to int8 (exported models ask for 4).
        positions: Rows of the rotary tables, at most; never more than the model's context.
        zero_share: This share of the weights of every matrix, the vocabulary's too, is exactly
            zero, at random places, as unstructured pruning leaves them. Every quantisation can
            hold that: in int4 and int8 the code in the middle stands for zero (1 in 16 and 1 in
            256 do by chance, also where the share is 0).
    """

    quantisation: str = "int4"
    float_type: FloatType = "fp32"
    shard_bytes: int = SHARD_BYTES
    alias_layers: bool = False
    seed: int = 1
    all_logits: bool = False
    accuracy_level: int = 4
    positions: int = 8192
    zero_share: float = 0.0

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        check(model, self)
        alias = "-alias" if self.alias_layers else ""
        zeros = f"-zeros{self.zero_share:g}" if self.zero_share else ""
        return content_key(
            model,
            self,
            format="onnx",
            version=WRITER_VERSION,
            label=f"{self.quantisation}-{self.float_type}{alias}{zeros}",
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        # onnx is slow to import, and most runs find their artifact in the cache.
        from harness.weights.onnx.writer import plan_artifact  # noqa: PLC0415

        return plan_artifact(model, self)


def check(model: Architecture, options: OnnxRecipe) -> None:
    """Raise for what cannot be written.

    Raises:
        UserError: unknown quantisation or float type, a family without a graph, or a width that
            is not a multiple of the quantisation's block.
    """
    quantisation = find_quantisation(options.quantisation)
    if options.quantisation not in QUANTISATIONS:
        raise UserError(
            f"ONNX has no operators for {options.quantisation} weights",
            f"use {', '.join(QUANTISATIONS)}",
        )
    if options.float_type not in ("fp32", "fp16"):
        raise unknown("float type", options.float_type, ("fp32", "fp16"))
    if options.shard_bytes <= 0:
        raise UserError(f"shard size {options.shard_bytes} is not positive", "leave it out")
    if options.accuracy_level not in range(5):
        raise UserError(
            f"accuracy level {options.accuracy_level} does not exist", "use one from 0 to 4"
        )
    if not 0 <= options.zero_share < 1:
        raise UserError(f"{options.zero_share} is no share of zeros", "use 0 or more, and below 1")
    if model.family not in FAMILIES:
        raise UserError(
            f"no ONNX graph for {model.id}: its family is {model.family}",
            f"families that are written: {', '.join(FAMILIES)}",
        )
    if quantisation.block:
        for width in (model.hidden, model.ffn, model.query_width):
            if width % quantisation.block:
                raise UserError(
                    f"{model.id}: width {width} is not a multiple of the block of "
                    f"{quantisation.block} that {quantisation.name} needs",
                    "use fp16",
                )
