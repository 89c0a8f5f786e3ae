"""What the page knows without measuring is what the engines' modules say."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from harness.errors import UserError
from harness.models import MODELS, QUANTISATIONS
from harness.probe.catalogue import (
    CATALOGUE_PATH,
    catalogue,
    known_files,
    main,
    text_of,
)
from harness.runtimes import find_runtime
from tests.harness.probe.samples import second

STORED: dict[str, Any] = json.loads(CATALOGUE_PATH.read_text("utf-8"))


def test_it_is_not_stale() -> None:
    """If this fails: python -m harness.probe.catalogue."""
    assert main(["--check"]) == 0, "catalogue.json is stale: python -m harness.probe.catalogue"


def test_a_stale_one_is_told(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "catalogue.json"
    monkeypatch.setattr("harness.probe.catalogue.CATALOGUE_PATH", path)
    monkeypatch.setattr("harness.probe.catalogue.catalogue", lambda: {"version": 1})
    assert main(["--check"]) == 1
    assert "-> python -m harness.probe.catalogue" in capsys.readouterr().err
    assert main([]) == 0
    assert path.read_text() == '{"version":1}\n'
    assert main(["--check"]) == 0


def test_it_is_small() -> None:
    assert len(gzip.compress(CATALOGUE_PATH.read_bytes())) <= 24 << 10


def test_its_text_is_its_content() -> None:
    assert json.loads(text_of(STORED)) == STORED
    assert set(STORED["models"]) == set(MODELS)
    assert set(STORED["quantisations"]) == set(QUANTISATIONS)


@pytest.mark.parametrize("runtime", sorted(STORED["engines"]))
def test_every_file_has_a_recipe_with_its_kernels(runtime: str) -> None:
    engine = STORED["engines"][runtime]
    assert engine["backend"] in {"wasm", "webgpu"}
    assert engine["files"]
    kinds = [engine["quantisations"], *([engine["gpu"]] if "gpu" in engine else [])]
    for files in (engine["files"], engine.get("files_shader_f16", {})):
        for model, sizes in files.items():
            assert model in STORED["models"]
            for quantisation in sizes:
                for kind in kinds:
                    recipe = STORED["recipes"][kind[quantisation]]
                    assert recipe["name"] == runtime
                    assert quantisation in recipe["kernels"]


def test_what_engines_need_is_found_out() -> None:
    engines = STORED["engines"]
    assert engines["wllama/wasm"]["needs"] == ["wasm_simd", "wasm_memory64"]
    assert engines["wllama/webgpu"]["needs"] == [
        *("wasm_simd", "wasm_memory64", "webgpu", "shader-f16")
    ]
    assert engines["onnxruntime-web/webgpu"]["needs"] == ["wasm_simd", "webgpu"]
    assert engines["onnxruntime-web/webgpu"]["needs_of"] == {"fp16": ["shader-f16"]}
    assert (engines["wllama/wasm"]["max_threads"], engines["wllama/wasm"]["needs_isolation"]) == (
        8,
        True,
    )
    assert not engines["litert-lm/wasm"]["needs_isolation"]


def test_what_cannot_be_run_has_no_file() -> None:
    engines = STORED["engines"]
    assert "phi-2" not in engines["wllama/wasm"]["files"]  # no writer
    assert "q4_k" not in engines["wllama/wasm"]["files"]["gemma-3-270m"]  # its rows do not divide
    assert "int8" not in engines["litert-lm/wasm"]["files"]["gemma-2b"]  # above 2 GiB
    assert not any("native" in name for name in engines)


def test_sizes_are_those_of_plans() -> None:
    model, report = MODELS["gemma-3-270m"], second("chromium_h200")
    runtime = find_runtime("onnxruntime-web/webgpu")
    planned = runtime.recipe(model, "int4", report).plan(model).artifact.stored_bytes
    assert known_files()["onnxruntime-web/webgpu:shader-f16"][model.id]["int4"] == planned
    assert known_files()["onnxruntime-web/webgpu"][model.id]["int4"] > planned


def test_sizes_can_be_of_some_models_only() -> None:
    small = catalogue([MODELS["gemma-3-270m"]])
    assert set(small["engines"]["onnxruntime-web/wasm"]["files"]) == {"gemma-3-270m"}
    assert small["recipes"] == STORED["recipes"]


def test_a_catalogue_that_is_not_there(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.probe.catalogue.CATALOGUE_PATH", tmp_path / "none.json")
    known_files.cache_clear()
    try:
        with pytest.raises(UserError, match="cannot be read"):
            known_files()
    finally:
        known_files.cache_clear()
