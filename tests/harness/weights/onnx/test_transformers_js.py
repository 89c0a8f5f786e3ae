"""The directory for Transformers.js: its graph natively, its tokenizer read independently."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.onnx.transformers_js import TransformersJsRecipe, tokenizer
from harness.weights.tokenizer import FIRST_WORD, text_of
from harness.weights.writing import write
from tests.harness.weights.onnx.native import greedy

if TYPE_CHECKING:
    from pathlib import Path

    from harness.weights.artifact import Artifact

VOCABULARY = 1024
TOKENIZER = tokenizer(VOCABULARY)
PROMPT = [FIRST_WORD + 7 * position for position in range(20)]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    directory = tmp_path_factory.mktemp("models") / "model"
    recipe = TransformersJsRecipe(accuracy_level=0, shard_bytes=1 << 20)
    return write(recipe.plan(tiny(MODELS["gemma-3-270m"])), directory)


def read(artifact: Artifact, name: str) -> Any:
    return json.loads((artifact.directory / name).read_text(encoding="utf-8"))


def encoded(text: str) -> list[int]:
    """Byte-pair encoding by the book: of all neighbours, the earliest merge first."""
    model = TOKENIZER["model"]
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    parts = list(text.replace(" ", TOKENIZER["normalizer"]["content"]))
    while True:
        pairs = [(ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts))]
        rank, place = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return [model["vocab"][part] for part in parts]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


@given(st.lists(st.integers(FIRST_WORD, VOCABULARY - 1), min_size=1, max_size=12))
def test_the_tokenizer_makes_each_word_one_token(ids: list[int]) -> None:
    assert encoded(text_of(ids)) == ids


def test_the_vocabulary_has_each_id_once() -> None:
    assert sorted(TOKENIZER["model"]["vocab"].values()) == list(range(VOCABULARY))


def test_the_graph_runs_natively(artifact: Artifact) -> None:
    tokens = greedy(artifact, PROMPT, 6)
    assert len(set(tokens)) > 1
    assert all(0 <= token < VOCABULARY for token in tokens)


def test_the_graph_has_the_names_and_operators_that_the_library_takes(artifact: Artifact) -> None:
    model = onnx.load(str(artifact.entry_path), load_external_data=False)
    assert "GatherBlockQuantized" not in {node.op_type for node in model.graph.node}
    dims = {
        dim.dim_param
        for value in (*model.graph.input, *model.graph.output)
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }
    assert dims == {
        "batch_size",
        "sequence_length",
        "past_sequence_length",
        "total_sequence_length",
    }
    used = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= used


def test_the_settings_name_every_data_file(artifact: Artifact) -> None:
    count = read(artifact, "config.json")["transformers.js_config"]["use_external_data_format"]
    data = [file.name for file in artifact.files if "_data" in file.name]
    assert count == {"model_q4.onnx": len(data)}
    assert data == [
        "onnx/model_q4.onnx_data",
        *(f"onnx/model_q4.onnx_data_{n}" for n in range(1, len(data))),
    ]
    assert len(data) > 1
    assert artifact.damage() is None


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = tiny(MODELS["gemma-2b"])
    with pytest.raises(UserError, match="with int8 weights"):
        TransformersJsRecipe(quantisation="int8").plan(model)
    with pytest.raises(UserError, match="family"):
        TransformersJsRecipe().key(MODELS["phi-2"])
    assert not list(tmp_path.iterdir())
