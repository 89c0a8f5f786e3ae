"""How llama.cpp stores tensors: sizes of its blocks, and which tensor gets which type.

Numbers and layouts are those of `enum ggml_type` and the block structures in
ggml-org/llama.cpp:ggml/include/ggml.h and ggml/src/ggml-common.h.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.models import Architecture


TypeName = Literal["f32", "f16", "q4_0", "q8_0", "q4_k", "q6_k"]


@dataclass(frozen=True, slots=True)
class TensorType:
    """One type of storage: `bytes` for each block of `elements` weights of a row.

    Attributes:
        name: llama.cpp's own, in small letters.
        code: In `enum ggml_type`.
    """

    name: TypeName
    code: int
    elements: int
    bytes: int

    def size(self, weights: int) -> int:
        """Bytes of that many weights, whose rows are whole blocks."""
        return weights // self.elements * self.bytes


F32: Final = TensorType("f32", 0, 1, 4)
F16: Final = TensorType("f16", 1, 1, 2)
Q4_0: Final = TensorType("q4_0", 2, 32, 18)
Q8_0: Final = TensorType("q8_0", 8, 32, 34)
Q4_K: Final = TensorType("q4_k", 12, 256, 144)
Q6_K: Final = TensorType("q6_k", 14, 256, 210)

MATRIX_TYPES: Final[Mapping[str, TensorType]] = {
    "q4_k": Q4_K,
    "q8_0": Q8_0,
    "q4_0": Q4_0,
    "fp16": F16,
    "fp32": F32,
}

# `enum llama_ftype` in include/llama.h: mostly F32, F16, Q4_0, Q8_0, Q4_K (small).
FILE_TYPES: Final[Mapping[str, int]] = {"fp32": 0, "fp16": 1, "q4_0": 2, "q8_0": 7, "q4_k": 14}


def table_type(model: Architecture, quantisation: str) -> TensorType:
    """The type of a vocabulary table.

    llama.cpp's quantiser gives the table that makes the logits more bits than the layers: Q6_K, or
    Q8_0 where its rows do not divide by 256 (`tensor_get_type` in src/llama-quant.cpp). That is a
    fifth of a small model: gemma-3-270m in Q4_0 has 0.15 GB without it and 0.24 GB with it, which
    is the size of the published files.
    """
    if quantisation in {"q4_k", "q4_0"}:
        return Q8_0 if model.hidden % Q6_K.elements else Q6_K
    return MATRIX_TYPES[quantisation]
