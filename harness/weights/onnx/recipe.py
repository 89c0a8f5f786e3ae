"""What may be chosen about a synthetic ONNX model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UserError, unknown
from harness.models import find_quantisation

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.artifact import FloatType

FAMILIES = ("gemma", "gemma2", "gemma3", "qwen2")

# Each file is one response body, one browser cache entry and, where a runtime wants the bytes, one
# ArrayBuffer, which browsers refuse from 2 GiB on. 512 MiB stays far from that even when a second
# copy is alive, resumes cheaply, and still holds the largest int4 and int8 table of the catalogue's
# 2B models in one piece.
SHARD_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Choices for the ONNX writer; every one of them changes the bytes, and so the key.

    Attributes:
        quantisation: `int4` or `int8` (blocks of 32, MatMulNBits) or `fp16` (plain MatMul).
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
    """

    quantisation: str = "int4"
    float_type: FloatType = "fp32"
    shard_bytes: int = SHARD_BYTES
    alias_layers: bool = False
    seed: int = 1
    all_logits: bool = False
    accuracy_level: int = 4
    positions: int = 8192


def check(model: Architecture, options: OnnxOptions) -> None:
    """Raise for what cannot be written.

    Raises:
        UserError: unknown quantisation or float type, a family without a graph, or a width that
            is not a multiple of the quantisation's block.
    """
    quantisation = find_quantisation(options.quantisation)
    if options.float_type not in ("fp32", "fp16"):
        raise unknown("float type", options.float_type, ("fp32", "fp16"))
    if options.shard_bytes <= 0:
        raise UserError(f"shard size {options.shard_bytes} is not positive", "leave it out")
    if options.accuracy_level not in range(5):
        raise UserError(
            f"accuracy level {options.accuracy_level} does not exist", "use one from 0 to 4"
        )
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
