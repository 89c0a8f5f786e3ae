"""Synthetic GGUF files against llama.cpp, its Python reader and an independent forward pass."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType

from harness.errors import UserError
from harness.models import MODELS, Architecture, tiny
from harness.weights.gguf.recipe import FAMILIES, QUANTISATIONS, GgufRecipe, exact_quantisation
from harness.weights.gguf.writer import plan_artifact
from harness.weights.tokenizer import FIRST_WORD, text_of
from harness.weights.writing import write
from tests.harness.weights.gguf.native import Native
from tests.harness.weights.gguf.reference import Reference, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.weights.artifact import Artifact

    Make = Callable[..., tuple[Architecture, Artifact]]

# One model of each family.
MODEL_IDS = ("gemma-2b", "gemma-2-2b-it", "gemma-3-1b-it", "qwen2.5-0.5b")
# Longer than the window of 8 that tiny models with local layers have.
PROMPT = [FIRST_WORD + number * 7 % 700 for number in range(20)]
COUNT = 8
TINY = tiny(MODELS["gemma-2b"])
# Largest errors of log probabilities whose logits have a standard deviation of 2. llama.cpp looks
# GELU up in a table of float16: 0.0023 was seen at most with it, 0.00002 without it (SiLU).
EXACT = {"qwen2": 2e-4, "gemma": 6e-3, "gemma2": 6e-3, "gemma3": 6e-3}
# Activations rounded to float16 before products with float16 weights; seen: 0.006.
HALF = 0.02
# Activations rounded to int8, block by block, in each of some fifteen products; seen: 0.06 root
# mean square, 0.28 at most.
ROUNDED_RMS = 0.1
ROUNDED_MAX = 0.5


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny models, each written once."""
    made: dict[tuple[str, GgufRecipe], tuple[Architecture, Artifact]] = {}

    def _make(model_id: str, **options: Any) -> tuple[Architecture, Artifact]:
        recipe = GgufRecipe(**options)
        if (model_id, recipe) not in made:
            model = tiny(MODELS[model_id])
            directory = tmp_path_factory.mktemp("models") / "model"
            made[model_id, recipe] = model, write(recipe.plan(model), directory)
        return made[model_id, recipe]

    return _make


def difference(native: Native, reference: Reference) -> np.ndarray[Any, Any]:
    """Between the log probabilities after the prompt."""
    found = np.array(native.log_probabilities(PROMPT, reference.shape.vocabulary))
    assert np.isfinite(found).all()
    return np.abs(found - reference.log_probabilities(PROMPT))


def shortfalls(native: Native, reference: Reference) -> list[float]:
    """How much less likely than its best the reference finds each greedy token of llama.cpp."""
    tokens = native.greedy(PROMPT, COUNT)
    logits = reference.logits([*PROMPT, *tokens])[len(PROMPT) - 1 : -1]
    return [float(row.max() - row[token]) for row, token in zip(logits, tokens, strict=True)]


class TestNumbers:
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_float32_agrees_with_the_reference(self, make: Make, model_id: str) -> None:
        model, artifact = make(model_id, quantisation="fp32")
        native, reference = Native(artifact, exact=True), Reference(model, artifact)
        assert difference(native, reference).max() < EXACT[model.family]
        assert shortfalls(native, reference) == [0.0] * COUNT

    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_float16_agrees_with_the_reference(self, make: Make, model_id: str) -> None:
        model, artifact = make(model_id, quantisation="fp16")
        native, reference = Native(artifact), Reference(model, artifact)
        assert difference(native, reference).max() < HALF
        assert shortfalls(native, reference) == [0.0] * COUNT

    @pytest.mark.parametrize("quantisation", ["q4_k", "q8_0", "q4_0"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_quantised_is_close_to_the_reference(
        self, make: Make, model_id: str, quantisation: str
    ) -> None:
        model, artifact = make(model_id, quantisation=quantisation)
        native, reference = Native(artifact), Reference(model, artifact)
        error = difference(native, reference)
        assert np.sqrt(np.mean(error**2)) < ROUNDED_RMS
        assert error.max() < ROUNDED_MAX
        assert max(shortfalls(native, reference)) < ROUNDED_MAX

    @pytest.mark.parametrize(
        ("model_id", "change"),
        [
            ("gemma-2-2b-it", {"sliding_window": 9}),
            ("gemma-3-1b-it", {"sliding_window": 9}),
            ("gemma-3-1b-it", {"rope_theta": 10_000.0}),
            ("gemma-2-2b-it", {"family": "gemma"}),
            ("gemma-3-1b-it", {"family": "gemma"}),
            ("qwen2.5-0.5b", {"family": "gemma"}),
        ],
    )
    def test_the_comparison_notices_another_architecture(
        self, make: Make, model_id: str, change: dict[str, Any]
    ) -> None:
        model, artifact = make(model_id, quantisation="fp32")
        other = Reference(replace(model, **change), artifact)
        assert difference(Native(artifact, exact=True), other).max() > 3 * EXACT["gemma"]

    @pytest.mark.parametrize("quantisation", QUANTISATIONS)
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_logits_are_sane(self, make: Make, model_id: str, quantisation: str) -> None:
        model, artifact = make(model_id, quantisation=quantisation)
        logits = Reference(model, artifact).logits(PROMPT)
        assert np.isfinite(logits).all()
        assert 1 < logits[:, FIRST_WORD:].std() < 5
        likely = logits.argmax(axis=-1)
        assert (likely >= FIRST_WORD).all()
        assert len(set(likely.tolist())) > len(PROMPT) // 2
        assert np.mean(likely == PROMPT) < 0.5  # it does not just repeat its last token

    def test_a_text_is_the_ids_that_it_was_made_from(self, make: Make) -> None:
        _, artifact = make("gemma-2b", quantisation="fp32")
        native = Native(artifact)
        assert native.greedy(text_of(PROMPT), COUNT) == native.greedy(PROMPT, COUNT)

    def test_a_table_that_is_not_tied(self, tmp_path: Path) -> None:
        model = replace(tiny(MODELS["qwen2.5-0.5b"]), tied_embeddings=False)
        artifact = write(GgufRecipe("fp32").plan(model), tmp_path / "model")
        assert "output.weight" in read_weights(artifact)
        error = difference(Native(artifact, exact=True), Reference(model, artifact))
        assert error.max() < EXACT["qwen2"]


class TestFiles:
    def test_the_reader_of_llama_cpp_finds_what_was_written(self, make: Make) -> None:
        model, artifact = make("gemma-3-1b-it", quantisation="q8_0")
        reader = GGUFReader(artifact.entry_path)
        found = {
            name: field.contents()
            for name, field in reader.fields.items()
            if field.types[0] is not GGUFValueType.ARRAY
        }
        expected = {
            "general.architecture": "gemma3",
            "gemma3.block_count": model.layers,
            "gemma3.embedding_length": model.hidden,
            "gemma3.feed_forward_length": model.ffn,
            "gemma3.attention.head_count": model.heads,
            "gemma3.attention.head_count_kv": model.kv_heads,
            "gemma3.attention.key_length": model.head_dim,
            "gemma3.attention.sliding_window": model.sliding_window,
            "gemma3.rope.freq_base": model.rope_theta,
        }
        assert {name: found[name] for name in expected} == expected
        tensor = {tensor.name: tensor for tensor in reader.tensors}["blk.0.ffn_down.weight"]
        assert list(tensor.shape) == [model.ffn, model.hidden]

    @pytest.mark.parametrize("quantisation", QUANTISATIONS)
    def test_rows_that_are_no_words_are_zero(self, make: Make, quantisation: str) -> None:
        model, artifact = make("gemma-2b", quantisation=quantisation)
        table = read_weights(artifact)["token_embd.weight"]
        assert table.shape == (model.vocabulary, model.hidden)
        assert not table[:FIRST_WORD].any()
        assert (np.abs(table[FIRST_WORD:]).sum(axis=1) > 0).all()

    @pytest.mark.parametrize("quantisation", QUANTISATIONS)
    def test_weights_have_the_deviation_that_keeps_activations_even(
        self, make: Make, quantisation: str
    ) -> None:
        _, artifact = make("gemma-2b", quantisation=quantisation)
        for name, weight in read_weights(artifact).items():
            if weight.ndim == 2 and name != "token_embd.weight":
                assert weight.std() * weight.shape[1] ** 0.5 == pytest.approx(1, abs=0.06)
                assert abs(weight.mean()) * weight.shape[1] ** 0.5 < 0.05

    @pytest.mark.parametrize("quantisation", ["q4_k", "fp32"])
    def test_in_several_files(self, make: Make, quantisation: str) -> None:
        model, whole = make("gemma-2-2b-it", quantisation=quantisation)
        _, parts = make("gemma-2-2b-it", quantisation=quantisation, split_bytes=300_000)
        count = len(parts.files)
        assert count > 2
        assert parts.entry == f"model-00001-of-{count:05d}.gguf"
        one, several = read_weights(whole), read_weights(parts)
        assert list(one) == list(several)
        assert all(np.array_equal(one[name], several[name]) for name in one)
        numbers = [GGUFReader(parts.directory / file.name).fields for file in parts.files]
        assert [part["split.no"].contents() for part in numbers] == list(range(count))
        assert {part["split.count"].contents() for part in numbers} == {count}
        assert {part["split.tensors.count"].contents() for part in numbers} == {len(one)}
        assert Native(parts).greedy(PROMPT, COUNT) == Native(whole).greedy(PROMPT, COUNT)
        assert model.family == "gemma2"

    def test_no_file_has_more_tensors_than_asked_unless_one_alone_does(self) -> None:
        limit = 200_000
        plan = GgufRecipe("fp16", split_bytes=limit).plan(TINY)
        for file in plan.files:
            tensors = file.sections[1:]
            size = sum(section.bytes for section in tensors)
            assert size <= limit or len(tensors) == 1

    def test_the_plan_says_how_large_it_will_be(self, make: Make) -> None:
        for split_bytes in (0, 300_000):
            _, artifact = make("gemma-2b", quantisation="q4_0", split_bytes=split_bytes)
            assert artifact.damage() is None
            assert artifact.total_bytes == sum(file.bytes for file in artifact.files)
            assert artifact.stored_bytes < artifact.total_bytes


# Published files. 270m: google/gemma-3-270m-it as unsloth quantised it; 1b: bartowski's
# google_gemma-3-1b-it-Q4_0; 7b: RichardErkhov's and cmh's gemma-7b-it. Sizes follow from bits a
# weight (8.5 for Q8_0, 4.5 for Q4_0 and Q4_K, 6.5625 for Q6_K) if the vocabulary table has Q8_0 or
# Q6_K in the 4-bit ones; the rest is the tokenizer.
PUBLISHED = [
    ("gemma-3-270m", "q8_0", 291_545_600),
    ("gemma-3-270m", "q4_0", 242e6),
    ("gemma-3-1b-it", "q4_0", 722e6),
    ("gemma-7b", "q4_k", 5.05e9),
    ("gemma-7b", "q4_0", 5.01e9),
    ("gemma-7b", "q8_0", 9.08e9),
]


class TestSizes:
    @pytest.mark.parametrize(("model_id", "quantisation", "published"), PUBLISHED)
    def test_files_are_as_large_as_published_ones(
        self, model_id: str, quantisation: str, published: float
    ) -> None:
        planned = GgufRecipe(quantisation).plan(MODELS[model_id]).total_bytes
        assert planned == pytest.approx(published, rel=0.03)

    def test_sizes_follow_from_bits(self) -> None:
        model = MODELS["gemma-2b"]
        body, table = model.body_parameters, model.embedding_parameters
        for quantisation, bits, table_bits in (
            ("q8_0", 8.5, 8.5),
            ("q4_k", 4.5, 6.5625),
            ("fp16", 16, 16),
        ):
            stored = GgufRecipe(quantisation).plan(model).artifact.stored_bytes
            assert stored == pytest.approx((body * bits + table * table_bits) / 8, rel=1e-3)


class TestRecipe:
    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        for quantisation in QUANTISATIONS:
            recipe = GgufRecipe(quantisation, seed=3)
            first = write(recipe.plan(TINY), tmp_path / f"{quantisation}-a")
            again = write(recipe.plan(TINY), tmp_path / f"{quantisation}-b")
            other = write(
                GgufRecipe(quantisation, seed=4).plan(TINY), tmp_path / f"{quantisation}-c"
            )
            assert contents(first) == contents(again) != contents(other)

    def test_every_option_changes_the_key(self) -> None:
        base = GgufRecipe("q8_0")
        others: dict[str, Any] = {
            "quantisation": "fp16",
            "seed": 2,
            "split_bytes": 1 << 20,
            "zero_share": 0.25,
        }
        assert {field.name for field in fields(GgufRecipe)} == set(others)
        keys = {replace(base, **{name: value}).key(TINY) for name, value in others.items()}
        keys.add(base.key(TINY))
        keys.add(base.key(tiny(MODELS["gemma-3-270m"])))
        assert len(keys) == len(others) + 2

    @pytest.mark.parametrize("quantisation", ["q8_0", "fp16", "fp32"])
    @pytest.mark.parametrize("share", [0.25, 0.9])
    def test_a_share_of_zeros(self, make: Make, quantisation: str, share: float) -> None:
        _, artifact = make("gemma-2b", quantisation=quantisation, zero_share=share)
        for name, weight in read_weights(artifact).items():
            if weight.ndim == 2:
                rows = weight[FIRST_WORD:] if name == "token_embd.weight" else weight
                assert np.mean(rows == 0) == pytest.approx(share, abs=0.03)
        tokens = Native(artifact).greedy(PROMPT, COUNT)
        assert min(tokens) >= FIRST_WORD

    @pytest.mark.parametrize(
        ("model_id", "options", "problem", "next_step"),
        [
            ("gemma-3-270m", {}, "rows of 640 weights are not a multiple", "use q8_0"),
            ("gemma-3-1b-it", {}, "rows of 1152 weights are not a multiple", "use q8_0"),
            ("gemma-2b", {"quantisation": "int4"}, "GGUF does not store int4", "use q4_k, q8_0"),
            ("gemma-2b", {"quantisation": "q9"}, "q9", ""),
            ("phi-2", {}, "no GGUF layout for phi-2", "gemma, gemma2, gemma3, qwen2"),
            ("gemma-2b", {"split_bytes": -1}, "negative", "use 0"),
            ("gemma-2b", {"zero_share": 0.5}, "q4_k cannot store single zeros", "q8_0"),
            ("gemma-2b", {"quantisation": "fp16", "zero_share": 1.0}, "no share", "below 1"),
        ],
    )
    def test_what_cannot_be_written_is_said(
        self, model_id: str, options: dict[str, Any], problem: str, next_step: str
    ) -> None:
        for ask in (GgufRecipe(**options).key, GgufRecipe(**options).plan):
            with pytest.raises(UserError) as error:
                ask(MODELS[model_id])
            assert problem in error.value.problem
            assert next_step in error.value.next_step

    def test_a_vocabulary_without_words_is_refused(self) -> None:
        with pytest.raises(UserError, match="too small for a tokenizer"):
            plan_artifact(replace(TINY, vocabulary=FIRST_WORD), GgufRecipe())

    def test_generic_names(self) -> None:
        assert exact_quantisation(MODELS["gemma-2b"], "int4") == "q4_k"
        assert exact_quantisation(MODELS["gemma-3-270m"], "int4") == "q4_0"
        assert exact_quantisation(MODELS["gemma-3-1b-it"], "int8") == "q8_0"
        assert exact_quantisation(MODELS["gemma-2b"], "fp16") == "fp16"
        for model in MODELS.values():
            if model.family in FAMILIES:
                for name in ("int4", "int8", "fp16", "fp32"):
                    assert GgufRecipe(exact_quantisation(model, name)).key(model)


def contents(artifact: Artifact) -> list[str]:
    return [
        hashlib.sha256((artifact.directory / file.name).read_bytes()).hexdigest()
        for file in artifact.files
    ]
