"""Pruned models: the share of zeros as an engine reads it, and that they still compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights import writing
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.tensors import Bits, Pruned, TensorSpec, Uniform
from harness.weights.tile import PIECE_BYTES, TileSource
from tests.harness.weights.onnx.native import Native
from tests.harness.weights.onnx.reference import Reference

MODEL = tiny(MODELS["gemma-3-270m"])
PROMPT = list(range(300, 320))
MATRICES = (
    "lm_head",
    *(
        f"layers.{layer}.{part}_proj"
        for layer in range(MODEL.layers)
        for part in ("q", "k", "v", "o", "gate", "up", "down")
    ),
)
# Codes that stand for zero by chance.
CHANCE = {"int4": 1 / 16, "int8": 1 / 256, "fp16": 0.0, "fp32": 0.0}


def zeros(reference: Reference) -> list[float]:
    """The share of zeros in each dequantised matrix."""
    return [float((reference.matrix(name) == 0).mean()) for name in MATRICES]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, float], Reference]:
    made = {}
    for quantisation in CHANCE:
        for share in (0.0, 0.2, 0.5):
            recipe = OnnxRecipe(quantisation, accuracy_level=0, all_logits=True, zero_share=share)
            directory = tmp_path_factory.mktemp("models") / "model"
            artifact = writing.write(recipe.plan(MODEL), directory, None)
            reference = Reference(MODEL, artifact)
            expected = reference.logits(PROMPT)
            np.testing.assert_allclose(Native(artifact).feed(PROMPT), expected, rtol=0, atol=1e-4)
            made[quantisation, share] = reference
    return made


@pytest.mark.parametrize("quantisation", CHANCE)
def test_the_share_of_zeros_is_what_was_asked_for(
    written: dict[tuple[str, float], Reference], quantisation: str
) -> None:
    for share in (0.2, 0.5):
        assert zeros(written[quantisation, share]) == pytest.approx(
            [share] * len(MATRICES), abs=0.02
        )


@pytest.mark.parametrize("quantisation", CHANCE)
def test_without_pruning_zeros_are_those_of_chance(
    written: dict[tuple[str, float], Reference], quantisation: str
) -> None:
    assert zeros(written[quantisation, 0.0]) == pytest.approx(
        [CHANCE[quantisation]] * len(MATRICES), abs=0.01
    )


def test_pruning_changes_the_key_and_no_size() -> None:
    plans = [OnnxRecipe("int8", zero_share=share).plan(MODEL) for share in (0.0, 0.2, 0.5)]
    assert len({plan.key for plan in plans}) == 3
    assert len({plan.artifact.stored_bytes for plan in plans}) == 1
    assert "zeros0.5" in plans[2].key


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_what_is_no_share(share: float) -> None:
    with pytest.raises(UserError, match="no share of zeros"):
        OnnxRecipe(zero_share=share).key(MODEL)


# Larger than a tile's piece, so that the bytes come from a tile.
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_codes_of_large_tensors(bits: int, share: float) -> None:
    fill = Pruned(Bits(), share, 4 if bits == 4 else 8)
    drawn = tensor_of("uint8", fill)
    codes = np.concatenate([drawn & 15, drawn >> 4]) if bits == 4 else drawn
    counts = np.bincount(codes, minlength=2**bits) / codes.size
    middle = 2 ** (bits - 1)
    assert counts[middle] == pytest.approx(share, abs=0.01)
    others = np.delete(counts, middle)
    assert others == pytest.approx([(1 - share) / (2**bits - 1)] * len(others), rel=0.1)


def test_pruned_floats_keep_the_spread_of_the_others() -> None:
    drawn = tensor_of("float32", Pruned(Uniform(0.0, 0.02, signed=True), 0.5))
    left = drawn[drawn != 0]
    assert left.size / drawn.size == pytest.approx(0.5, abs=0.01)
    assert abs(left).max() <= 0.02
    assert left.std() == pytest.approx(0.02 / 3**0.5, rel=0.05)
    assert (left < 0).mean() == pytest.approx(0.5, abs=0.02)


def tensor_of(element: str, fill: Pruned) -> npt.NDArray[Any]:
    count = 3 * PIECE_BYTES + 8
    spec = TensorSpec("t", "uint8" if element == "uint8" else "float32", (count,), fill)
    content = b"".join(bytes(piece) for piece in TileSource(1).pieces(spec))
    again = b"".join(bytes(piece) for piece in TileSource(1).pieces(spec))
    assert content == again
    assert len(content) == spec.bytes
    return np.frombuffer(content, np.dtype(element))
