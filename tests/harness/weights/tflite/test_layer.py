from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.tflite import DecoderLayerRecipe
from harness.weights.tflite.parameters import QUANTISATIONS
from harness.weights.writing import write
from tests.harness.weights.tflite.native import run_layer
from tests.harness.weights.tflite.reference import Reference
from tests.harness.weights.tflite.stored import read

if TYPE_CHECKING:
    from pathlib import Path

    from harness.models import Architecture
    from tests.harness.weights.tflite.native import Floats

GEMMA3 = tiny(MODELS["gemma-3-270m"])
FAMILIES = ("gemma-2b", "gemma-2-2b-it", "gemma-3-270m", "qwen2.5-0.5b")
# Values of a layer's output are about 1.7. Seen on x86 with AVX2, over all families: 4e-6 for fp32,
# and 1e-6 for integers, whose products are exact, unless a value falls on the other side of a step
# of int8, which was 0.017 once in 24.
TOLERANCES = {"fp32": 1e-4, "int8": 0.05, "int4": 0.05}


def inputs_of(model: Architecture, recipe: DecoderLayerRecipe) -> dict[str, Floats]:
    generator = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {"hidden": (1, recipe.tokens, model.hidden)}
    if recipe.past:
        shapes["key"] = (1, model.kv_heads, recipe.past, model.head_dim)
        shapes["value"] = (1, model.kv_heads, model.head_dim, recipe.past)
    return {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }


@pytest.mark.parametrize("past", [0, 24])
def test_inputs_are_the_documented_ones(past: int, tmp_path: Path) -> None:
    recipe = DecoderLayerRecipe(tokens=3, past=past)

    artifact = write(recipe.plan(GEMMA3), tmp_path / "a")

    stored = read(artifact.entry_path.read_bytes())
    ((inputs, outputs),) = stored.signatures().values()
    assert {name: shape for name, (shape, _) in inputs.items()} == {
        name: value.shape for name, value in inputs_of(GEMMA3, recipe).items()
    }
    assert tuple(inputs) == artifact.inputs
    assert [kind for _, kind in (*inputs.values(), *outputs.values())] == [0] * len(inputs) + [0]
    assert outputs["hidden"][0] == (1, 3, GEMMA3.hidden)


def test_every_choice_is_in_the_key() -> None:
    recipe = DecoderLayerRecipe()
    others = (
        replace(recipe, quantisation="fp32"),
        replace(recipe, tokens=1),
        replace(recipe, past=8),
        replace(recipe, seed=2),
    )

    assert len({choice.key(GEMMA3) for choice in (recipe, *others)}) == 5


@pytest.mark.parametrize(("tokens", "past"), [(0, 0), (1, -1)])
def test_impossible_lengths_are_refused(tokens: int, past: int) -> None:
    with pytest.raises(UserError, match="cannot take"):
        DecoderLayerRecipe(tokens=tokens, past=past).plan(GEMMA3)


def test_the_int8_layer_of_a_real_model_has_its_parameters_bytes() -> None:
    model = MODELS["gemma-2b"]

    plan = DecoderLayerRecipe().plan(model)

    assert plan.total_bytes == pytest.approx(model.layer_parameters, rel=0.01)


@pytest.mark.integration
@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("tokens", "past"), [(16, 0), (1, 24)])
def test_litert_agrees_with_the_equations(
    name: str, quantisation: str, tokens: int, past: int, tmp_path: Path
) -> None:
    model = tiny(MODELS[name])
    recipe = DecoderLayerRecipe(quantisation, tokens, past)
    artifact = write(recipe.plan(model), tmp_path / "a")
    inputs = inputs_of(model, recipe)

    output = run_layer(artifact, inputs)

    reference = Reference(model, read(artifact.entry_path.read_bytes()))
    given = (
        (inputs["key"][0].transpose(1, 0, 2), inputs["value"][0].transpose(2, 0, 1))
        if past
        else None
    )
    expected = reference.layer(
        inputs["hidden"][0].astype(np.float64), 0, np.arange(past, past + tokens), given
    )
    assert np.abs(output - expected).max() < TOLERANCES[quantisation]
    # It is no identity: attention and feed-forward added as much as there was.
    assert np.std(output - inputs["hidden"][0]) > 0.5
