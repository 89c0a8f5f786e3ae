"""Special artifacts by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.gguf.recipe import GgufRecipe
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.variants import varied

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.plan import ArtifactPlan, Recipe


@dataclass(frozen=True, slots=True)
class Plain:
    """The recipe of a format that knows nothing of pruning."""

    quantisation: str = "int4"
    seed: int = 1

    def key(self, model: Architecture) -> str:
        return f"{model.id}"

    def plan(self, model: Architecture) -> ArtifactPlan:
        raise NotImplementedError(model)


def test_no_variant_is_the_model_itself() -> None:
    recipe = OnnxRecipe("int8")
    assert varied(recipe, "") is recipe


@pytest.mark.parametrize("recipe", [OnnxRecipe("int8", seed=7), GgufRecipe("q8_0", seed=7)])
@pytest.mark.parametrize("percent", [1, 20, 50, 99])
def test_pruned(recipe: OnnxRecipe | GgufRecipe, percent: int) -> None:
    found = varied(recipe, f"pruned-{percent}")
    assert isinstance(found, OnnxRecipe | GgufRecipe)
    assert found.zero_share == pytest.approx(percent / 100)
    assert (found.quantisation, found.seed) == (recipe.quantisation, 7)
    model = tiny(MODELS["gemma-3-270m"])
    assert found.key(model) != recipe.key(model)


@pytest.mark.parametrize("name", ["pruned-0", "pruned-100", "pruned", "pruned-05", "smaller"])
def test_what_is_no_variant(name: str) -> None:
    with pytest.raises(UserError, match="there is no variant"):
        varied(OnnxRecipe(), name)


def test_a_format_without_variants() -> None:
    recipe: Recipe = Plain()
    with pytest.raises(UserError, match="Plain writes no pruned models"):
        varied(recipe, "pruned-50")
