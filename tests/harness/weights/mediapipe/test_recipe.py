"""Containers read back with other libraries: structure, sums, sizes; and the same ones again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
import sentencepiece
from litert_lm_builder import litertlm_core, litertlm_peek
from litert_lm_builder import litertlm_header_schema_py_generated as schema
from litert_lm_builder.runtime.proto import llm_metadata_pb2

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.mediapipe.recipe import MediaPipeRecipe, largest_tensor, takes
from harness.weights.tokenizer import FIRST_WORD
from harness.weights.writing import write
from tests.harness.weights.mediapipe.reading import codes, floats, read, sums

if TYPE_CHECKING:
    from pathlib import Path

    from harness.weights.artifact import Artifact
    from harness.weights.plan import Section

MODEL_IDS = ("gemma-2b", "gemma-2-2b-it", "gemma-3-270m", "gemma-3-1b-it", "gemma-4-e2b")
KINDS = {
    "gemma-2b": 6,
    "gemma-2-2b-it": 18,
    "gemma-3-270m": 38,
    "gemma-3-1b-it": 27,
    "gemma-4-e2b": 52,
}


def make(
    folder: Path,
    model_id: str,
    quantisation: str = "int4",
    container: Literal["task", "litertlm"] = "task",
) -> Artifact:
    plan = MediaPipeRecipe(quantisation, container).plan(tiny(MODELS[model_id]))
    return write(plan, folder / plan.key)


@pytest.mark.parametrize("quantisation", ["int4", "int8"])
@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_every_matrix_has_its_scales_and_sums(
    tmp_path: Path, model_id: str, quantisation: str
) -> None:
    artifact = make(tmp_path, model_id, quantisation)
    found = read(artifact.entry_path.read_bytes())
    assert found.kind == KINDS[model_id]
    assert found.metadata["backend"] == b"gpu"
    matrices = [name for name in found.tensors if name.endswith(".w")]
    others = [name for name in found.tensors if name.endswith(".scale")]
    looked_up = [name for name in matrices if name.endswith("per_layer_embeddings.w")]
    assert len(found.tensors) == 3 * len(matrices) - len(looked_up) + len(others)
    for name in set(matrices) - set(looked_up):
        scale = floats(found.tensors[f"{name}_quantized_scale"])
        matrix = codes(found.tensors[name], len(scale))
        np.testing.assert_array_equal(sums(found.tensors[f"{name}.sum_i"]), matrix.sum(axis=1))
        assert np.isfinite(scale).all()
    for name in others:
        assert np.isfinite(floats(found.tensors[name])).all()


@pytest.mark.parametrize(
    ("model_id", "table"),
    [
        ("gemma-3-1b-it", "params.lm.softmax.logits_ffn"),
        ("gemma-4-e2b", "transformer.embedder.input_embedding"),
    ],
)
def test_only_words_have_rows_in_the_table(tmp_path: Path, model_id: str, table: str) -> None:
    found = read(make(tmp_path, model_id).entry_path.read_bytes())
    scale = floats(found.tensors[f"{table}.w_quantized_scale"])
    assert len(scale) == tiny(MODELS[model_id]).vocabulary
    assert not scale[:FIRST_WORD].any()
    assert scale[FIRST_WORD:].all()


def test_tokenizer_inside(tmp_path: Path) -> None:
    found = read(make(tmp_path, "gemma-3-270m").entry_path.read_bytes())
    tokenizer = sentencepiece.SentencePieceProcessor(model_proto=found.metadata["spm_vocab_model"])
    assert tokenizer.vocab_size() == tiny(MODELS["gemma-3-270m"]).vocabulary


def test_the_builder_reads_what_wraps_the_container(tmp_path: Path) -> None:
    bare = make(tmp_path, "gemma-3-1b-it")
    wrapped = make(tmp_path, "gemma-3-1b-it", container="litertlm")
    content = wrapped.entry_path.read_bytes()
    with wrapped.entry_path.open("rb") as file:
        header = litertlm_peek.read_litertlm_header(str(wrapped.entry_path), _Quiet())
        assert file.read(8) == litertlm_core.HEADER_MAGIC_BYTES
    objects = header.SectionMetadata()
    parts = [objects.Objects(number) for number in range(objects.ObjectsLength())]
    kinds = schema.AnySectionDataType
    assert [part.DataType() for part in parts] == [
        kinds.LlmMetadataProto,
        kinds.SP_Tokenizer,
        kinds.TFLiteModel,
    ]
    assert all(part.BeginOffset() % litertlm_core.BLOCK_SIZE == 0 for part in parts)
    assert litertlm_peek.get_model_type(parts[2]) == "tf_lite_artisan_text_decoder"
    inside = [content[part.BeginOffset() : part.EndOffset()] for part in parts]
    assert inside[2] == bare.entry_path.read_bytes()
    assert inside[1] == read(inside[2]).metadata["spm_vocab_model"]
    about = llm_metadata_pb2.LlmMetadata.FromString(inside[0])
    assert list(about.start_token.token_ids.ids) == [2]
    assert [list(stop.token_ids.ids) for stop in about.stop_tokens] == [[1], [5]]
    assert about.llm_model_type.WhichOneof("model_type") == "generic_model"
    assert "messages" in about.jinja_prompt_template


class _Quiet:
    """What the tool prints goes nowhere."""

    def write(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("container", ["task", "litertlm"])
def test_the_same_again(tmp_path: Path, container: Literal["task", "litertlm"]) -> None:
    first = make(tmp_path / "a", "gemma-2b", container=container)
    second = make(tmp_path / "b", "gemma-2b", container=container)
    assert first.entry_path.read_bytes() == second.entry_path.read_bytes()


def test_every_choice_has_a_key_of_its_own() -> None:
    recipes = [
        MediaPipeRecipe(quantisation, container, seed)
        for quantisation in ("int4", "int8")
        for container in ("task", "litertlm")
        for seed in (1, 2)
    ]
    keys = {recipe.key(MODELS[model]) for recipe in recipes for model in MODEL_IDS}
    assert len(keys) == len(recipes) * len(MODEL_IDS)


# Bytes of published files, from their repositories or from the code of apps that load them.
PUBLISHED = (
    ("gemma-2b", "int4", "task", 1.35e9),  # gemma-2b-it-gpu-int4.bin
    ("gemma-2-2b-it", "int8", "task", 2_627_141_632),  # gemma2-2b-it-gpu-int8.bin
    ("gemma-3-1b-it", "int4", "task", 700e6),  # gemma3-1b-it-int4-web.task
    ("gemma-3-1b-it", "int8", "task", 1011e6),  # gemma3-1b-it-int8-web.task
    ("gemma-4-e2b", "int4", "task", 2_003_697_664),  # gemma-4-E2B-it-web.task
    ("gemma-4-e2b", "int4", "litertlm", 2_008_432_640),  # gemma-4-E2B-it-web.litertlm
)


@pytest.mark.parametrize(("model_id", "quantisation", "container", "published"), PUBLISHED)
def test_sizes_are_those_of_published_files(
    model_id: str, quantisation: str, container: Literal["task", "litertlm"], published: float
) -> None:
    plan = MediaPipeRecipe(quantisation, container).plan(MODELS[model_id])
    assert plan.total_bytes == pytest.approx(published, rel=0.005)


def test_tensors_are_placed_for_any_reader() -> None:
    plan = MediaPipeRecipe().plan(tiny(MODELS["gemma-2b"]))
    [file] = plan.files
    starts = [section.offset for section in file.sections if not _has_zeros_before(section)]
    assert all(offset % 256 == 0 for offset in starts)
    # The engine waits for ever for the first MiB of a file that is shorter.
    assert file.bytes >= 1 << 20


def _has_zeros_before(section: Section) -> bool:
    """Scales of the table begin behind those of the ids that are no words."""
    return getattr(section.content, "name", "").startswith("params.lm.softmax")


def test_largest_tensor() -> None:
    assert largest_tensor(MODELS["gemma-2b"], "int4") == 256_000 * 2048 // 2
    assert largest_tensor(MODELS["gemma-2b"], "int8") == 256_000 * 2048


def test_what_cannot_be_written() -> None:
    assert not takes(MODELS["qwen2.5-0.5b"])
    with pytest.raises(UserError, match="no graph"):
        MediaPipeRecipe().key(MODELS["gemma-7b"])
    with pytest.raises(UserError, match="does not hold fp16"):
        MediaPipeRecipe("fp16").key(MODELS["gemma-2b"])
