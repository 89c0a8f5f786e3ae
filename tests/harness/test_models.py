"""The catalogue of models against the published table, and its look-ups."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.models import MODELS, QUANTISATIONS, Workload, find_model, find_quantisation

# Derived from the published configurations; in millions, and megabytes of 10^6 bytes.
TABLE = Path(__file__).parent / "data" / "model_architectures.csv"
ROWS = {row["model"]: row for row in csv.DictReader(TABLE.read_text("utf-8").splitlines())}


def test_the_table_speaks_of_every_model() -> None:
    # No configuration of this one was found: its sizes are those of its published file.
    assert set(ROWS) == set(MODELS) - {"gemma-4-e2b"}


def test_gemma_4_is_as_effective_as_its_name_says() -> None:
    """E2B: about two billion parameters beside the tables of which a token reads one row."""
    model = MODELS["gemma-4-e2b"]
    assert model.body_parameters + model.embedding_parameters == pytest.approx(2.28e9, rel=0.01)
    assert model.lookup_parameters == 35 * 262_144 * 256
    assert model.parameters == pytest.approx(4.63e9, rel=0.01)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_derived_figures_are_those_of_the_table(name: str) -> None:
    model = MODELS[name]
    published = {key: float(value) for key, value in ROWS[name].items() if key != "model"}
    decoded, largest = model.decode_parameters, model.largest_tensor_parameters
    derived = {
        "layers": model.layers,
        "embedding_params_M": model.embedding_parameters / 1e6,
        "body_params_M": model.body_parameters / 1e6,
        "total_params_M": model.parameters / 1e6,
        "decode_read_params_M": decoded / 1e6,
        "decode_bytes_int4_MB": decoded / 2e6,
        "decode_bytes_int8_MB": decoded / 1e6,
        "kv_bytes_per_token_f16": model.kv_bytes_per_token(),
        "prefill_MFLOP_per_token": model.flops_per_token(head=False) / 1e6,
        "largest_tensor_int4_MB": largest / 2e6,
        "largest_tensor_int8_MB": largest / 1e6,
    }
    # The table is rounded to one decimal (embeddings: three).
    assert derived == pytest.approx(published, abs=0.051)


def test_decoding_reads_the_head_as_well() -> None:
    for model in MODELS.values():
        head = model.flops_per_token() - model.flops_per_token(head=False)
        assert head == 2 * model.embedding_parameters


def test_weights_are_stored_with_a_scale_for_each_block() -> None:
    int4, int8, fp16 = (QUANTISATIONS[name] for name in ("int4", "int8", "fp16"))
    assert int4.weight_bytes(64) == 32 + 2 * 2
    assert int4.weight_bytes(64, scale_bytes=4) == 32 + 2 * 4
    assert int8.weight_bytes(64) == 64 + 2 * 2
    assert fp16.weight_bytes(64, scale_bytes=4) == 128


def test_a_second_table_counts_as_stored_but_not_as_read() -> None:
    phi = MODELS["phi-2"]
    assert not phi.tied_embeddings
    assert phi.parameters - phi.decode_parameters == phi.embedding_parameters


def test_layers_with_a_window() -> None:
    gemma3, gemma2, gemma = (MODELS[n] for n in ("gemma-3-1b-it", "gemma-2-2b-it", "gemma-2b"))
    assert [n for n in range(gemma3.layers) if gemma3.is_global_layer(n)] == [5, 11, 17, 23]
    assert [gemma2.is_global_layer(n) for n in range(4)] == [False, True, False, True]
    assert all(gemma.is_global_layer(n) for n in range(gemma.layers))


def test_every_entry_names_its_source() -> None:
    assert all(model.source for model in MODELS.values())


def test_no_name_means_two_models() -> None:
    names = [n.lower() for m in MODELS.values() for n in (m.id, *m.aliases)]
    assert len(names) == len(set(names))


def test_every_name_finds_its_model_in_any_case() -> None:
    for model in MODELS.values():
        for name in (model.id, *model.aliases):
            assert find_model(name.upper()) is model
            assert find_model(name.lower()) is model


@pytest.mark.parametrize(
    ("word", "hint"),
    [("gema-2b", "did you mean gemma-2b"), ("phi2", "did you mean phi-2"), ("", "known: ")],
)
def test_an_unknown_model_names_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(UserError) as raised:
        find_model(word)
    assert raised.value.problem == f"unknown model {word!r}"
    assert raised.value.next_step.startswith(hint)


def test_an_unknown_quantisation_names_the_nearest() -> None:
    with pytest.raises(UserError) as raised:
        find_quantisation("int5")
    assert str(raised.value) == "unknown quantisation 'int5'\n  -> did you mean int8 or int4?"


def test_a_workload_reads_as_a_phrase() -> None:
    workload = Workload("gemma-2b", "int4", "onnxruntime-web/wasm", 16, 8)
    assert str(workload) == "gemma-2b/int4 on onnxruntime-web/wasm, 16+8 tokens"


def test_blocks_that_rows_do_not_fill() -> None:
    small, large = MODELS["gemma-3-270m"], MODELS["gemma-2b"]
    assert not QUANTISATIONS["q4_k"].fits(small)
    assert QUANTISATIONS["q8_0"].fits(small)
    assert all(quantisation.fits(large) for quantisation in QUANTISATIONS.values())
