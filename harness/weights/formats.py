"""The formats that synthetic artifacts are written in, by the name that users type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import unknown
from harness.weights.onnx.recipe import FAMILIES as ONNX_FAMILIES
from harness.weights.onnx.recipe import QUANTISATIONS as ONNX_QUANTISATIONS
from harness.weights.onnx.recipe import OnnxRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.weights.plan import Recipe


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """One format.

    Attributes:
        name: What users type.
        engines: Which engines load it, in words.
        families: Model families that can be written.
        quantisations: Ways of storing weights, the default first.
        recipe: From a quantisation and a seed.
    """

    name: str
    engines: str
    families: tuple[str, ...]
    quantisations: tuple[str, ...]
    recipe: Callable[[str, int], Recipe]


def _onnx(quantisation: str, seed: int) -> Recipe:
    return OnnxRecipe(quantisation=quantisation, seed=seed)


FORMATS: dict[str, WeightFormat] = {
    form.name: form
    for form in (
        WeightFormat(
            "onnx", "onnxruntime and onnxruntime-web", ONNX_FAMILIES, ONNX_QUANTISATIONS, _onnx
        ),
    )
}


def find_format(name: str) -> WeightFormat:
    """The format of that name.

    Raises:
        UserError: there is none.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
