"""What may be chosen about a synthetic GGUF model: the recipe of the writer in `writer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.models import find_quantisation
from harness.weights.gguf.types import MATRIX_TYPES
from harness.weights.plan import content_key
from harness.weights.tokenizer import FIRST_WORD

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.plan import ArtifactPlan

# Raise it with every change of the metadata, the layout or the random source: keys depend on it.
WRITER_VERSION: Final = 1

QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16", "fp32")
FAMILIES: Final = ("gemma", "gemma2", "gemma3", "qwen2")

# A block of Q4_K or Q4_0 packs a scale for many weights: no single one can be made zero by itself
# without an offset that happens to cancel (Q4_K), or a code that is zero only at 8 (Q4_0).
ZERO_SHARE_QUANTISATIONS: Final = ("q8_0", "fp16", "fp32")


@dataclass(frozen=True, slots=True)
class GgufRecipe:
    """Choices for the GGUF writer; every one of them changes the bytes, and so the key.

    Attributes:
        quantisation: `q4_k`, `q8_0`, `q4_0`, `fp16` or `fp32`: of the matrices. The vocabulary
            table of a 4-bit model is stored with more bits, as llama.cpp's own quantiser does (see
            `harness.weights.gguf.types.table_type`); norms and biases are always fp32.
        seed: Decides on all random weights.
        split_bytes: Several files, none with more bytes of tensors than this unless a single
            tensor has more; 0: one file. Names and metadata are those of llama.cpp's gguf-split.
        zero_share: This share of all matrix weights is exactly zero, at random places (q8_0, fp16
            and fp32 only). Where it is 0, the 1 in 256 of q8_0 that is zero by chance stays.
    """

    quantisation: str = "q4_k"
    seed: int = 1
    split_bytes: int = 0
    zero_share: float = 0.0

    def key(self, model: Architecture) -> str:
        """See `Recipe.key`."""
        check(model, self)
        split = "-split" if self.split_bytes else ""
        zeros = f"-zeros{self.zero_share:g}" if self.zero_share else ""
        return content_key(
            model,
            self,
            format="gguf",
            version=WRITER_VERSION,
            label=f"{self.quantisation}{split}{zeros}",
        )

    def plan(self, model: Architecture) -> ArtifactPlan:
        """See `Recipe.plan`."""
        # The vocabulary of a real model takes half a second, and most runs find their artifact.
        from harness.weights.gguf.writer import plan_artifact  # noqa: PLC0415

        return plan_artifact(model, self)


def row_widths(model: Architecture) -> tuple[int, ...]:
    """The lengths of all matrix rows; a quantised block never crosses the end of one."""
    return model.hidden, model.ffn, model.query_width


def exact_quantisation(model: Architecture, name: str) -> str:
    """What a generic name (`int4`, `int8`) stands for in GGUF; any other name is its own.

    `int4` is Q4_K, whose kernels are the fast ones, and Q4_0 where rows do not divide by 256.
    """
    if name == "int8":
        return "q8_0"
    if name == "int4":
        block = MATRIX_TYPES["q4_k"].elements
        return "q4_0" if any(width % block for width in row_widths(model)) else "q4_k"
    return name


def check(model: Architecture, recipe: GgufRecipe) -> None:
    """Raise for what cannot be written.

    Raises:
        UserError: an unknown or unwritable quantisation, a family without a layout, a width that is
            not a multiple of the block, a vocabulary without words, or a share that is none.
    """
    find_quantisation(recipe.quantisation)
    if recipe.quantisation not in QUANTISATIONS:
        raise UserError(
            f"GGUF does not store {recipe.quantisation} weights", f"use {', '.join(QUANTISATIONS)}"
        )
    if model.family not in FAMILIES:
        raise UserError(
            f"no GGUF layout for {model.id}: its family is {model.family}",
            f"families that are written: {', '.join(FAMILIES)}",
        )
    block = MATRIX_TYPES[recipe.quantisation].elements
    for width in row_widths(model):
        if width % block:
            raise UserError(
                f"{model.id}: rows of {width} weights are not a multiple of the block of {block} "
                f"that {recipe.quantisation} needs",
                "use q8_0" if width % MATRIX_TYPES["q8_0"].elements == 0 else "use fp16",
            )
    if model.vocabulary <= FIRST_WORD:
        raise UserError(
            f"{model.id}: a vocabulary of {model.vocabulary} is too small for a tokenizer",
            f"it needs more than {FIRST_WORD} entries",
        )
    if recipe.split_bytes < 0:
        raise UserError(
            f"a split size of {recipe.split_bytes} is negative", "use 0 for a single file"
        )
    _check_zero_share(recipe)


def _check_zero_share(recipe: GgufRecipe) -> None:
    if not 0 <= recipe.zero_share < 1:
        raise UserError(f"{recipe.zero_share} is no share of zeros", "use 0 or more, and below 1")
    if recipe.zero_share and recipe.quantisation not in ZERO_SHARE_QUANTISATIONS:
        raise UserError(
            f"{recipe.quantisation} cannot store single zeros among its weights",
            f"use {', '.join(ZERO_SHARE_QUANTISATIONS)}",
        )
