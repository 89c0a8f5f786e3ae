"""What wllama says before anything is loaded: what it takes, needs, costs, and is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from harness.models import MODELS
from harness.probe.predict import MemoryBudget, predict
from harness.probe.report import ProbeReport
from harness.runtimes import find_runtime
from harness.runtimes.base import HALF_FLOATS, WebRuntime
from harness.weights.gguf.recipe import GgufRecipe
from tests.harness.probe.samples import demand, sample, second

if TYPE_CHECKING:
    from results.record import Prediction

REPORT = second("chromium_wasm")
GPU = sample("chromium_swiftshader")
WASM = find_runtime("wllama/wasm")
WEBGPU = find_runtime("wllama/webgpu")
GIB = 1 << 30


def changed(report: ProbeReport, **environment: Any) -> ProbeReport:
    here = report.environment.model_copy(update=environment)
    return report.model_copy(update={"environment": here})


def with_features(*features: str) -> ProbeReport:
    data = GPU.model_dump()
    data["backends"]["webgpu"]["adapter"]["features"] = list(features)
    return ProbeReport.model_validate(data)


def foresee(model_id: str, quantisation: str, limit: int | None = None) -> Prediction:
    model = MODELS[model_id]
    artifact = GgufRecipe(quantisation).plan(model).artifact
    asked = demand(model_id, quantisation, file_bytes=artifact.stored_bytes)
    recipe = WASM.engine(quantisation, gpu=False)
    return predict(REPORT, asked, recipe, MemoryBudget(limit, "a limit"))


def test_the_version_names_the_llama_cpp_inside() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+ \(b\d+-[0-9a-f]+\)", WASM.version())


@pytest.mark.parametrize(
    ("model_id", "name", "exact"),
    [
        ("gemma-2b", "int4", "q4_k"),
        ("gemma-3-270m", "int4", "q4_0"),
        ("gemma-3-270m", "int8", "q8_0"),
        ("gemma-2b", "fp16", "fp16"),
    ],
)
def test_generic_names(model_id: str, name: str, exact: str) -> None:
    assert WASM.exact_quantisation(MODELS[model_id], name) == exact
    assert WASM.recipe(MODELS[model_id], exact, REPORT) == GgufRecipe(exact)


def test_what_it_takes_is_supported() -> None:
    report = changed(REPORT, wasm_simd=True, wasm_memory64=True)
    for name in ("int4", "int8", "fp16"):
        for model_id in ("gemma-2b", "gemma-2-2b-it", "gemma-3-270m", "qwen2.5-0.5b"):
            model = MODELS[model_id]
            assert WASM.unsupported(model, WASM.exact_quantisation(model, name), report) is None


@pytest.mark.parametrize(
    ("model_id", "quantisation", "environment", "reason"),
    [
        ("gemma-2b", "int3", {}, "wllama/wasm takes q4_k, q8_0, q4_0, fp16, fp32, not int3"),
        ("phi-2", "q8_0", {}, "no GGUF layout for phi-2: its family is phi"),
        ("gemma-3-270m", "q4_k", {}, "use q8_0"),
        ("gemma-2b", "q4_k", {"wasm_simd": False}, "no WebAssembly SIMD"),
        ("gemma-2b", "q4_k", {"wasm_memory64": False}, "no 64-bit WebAssembly memory"),
    ],
)
def test_what_it_does_not_take_is_said(
    model_id: str, quantisation: str, environment: dict[str, bool], reason: str
) -> None:
    found = WASM.unsupported(MODELS[model_id], quantisation, changed(REPORT, **environment))
    assert found is not None
    assert reason in found


def test_a_gpu_without_half_floats_is_unsupported() -> None:
    model = MODELS["gemma-2b"]
    without = WEBGPU.unsupported(model, "q4_k", with_features("subgroups"))
    assert without is not None
    assert HALF_FLOATS in without
    assert WEBGPU.unsupported(model, "q4_k", with_features(HALF_FLOATS)) is None


def test_threads_need_isolation() -> None:
    assert WASM.threads(changed(REPORT, hardware_concurrency=2)) == 2
    assert WASM.threads(changed(REPORT, hardware_concurrency=64)) == 8
    assert WASM.threads(changed(REPORT, cross_origin_isolated=False)) == 1


@pytest.mark.parametrize(
    ("model_id", "quantisation", "decode", "prefill"),
    [
        ("gemma-2b", "q4_k", 5.1, 7.5),
        ("gemma-2b", "q4_k", 2.97, 4.31),
        ("gemma-2b", "q8_0", 2.7, 4.4),
        ("gemma-3-1b-it", "q8_0", 6.5, 11.4),
        ("gemma-3-270m", "q8_0", 22.4, 71),
        ("gemma-3-270m", "q8_0", 9.14, 25.7),
        ("gemma-3-1b-it", "q4_0", 3.3, 4.6),
    ],
)
def test_speeds_that_were_measured_lie_within_what_is_predicted(
    model_id: str, quantisation: str, decode: float, prefill: float
) -> None:
    prediction = foresee(model_id, quantisation)
    assert prediction.verdict == "ok"
    for found, measured in (
        (prediction.decode_tokens_per_s, decode),
        (prediction.prefill_tokens_per_s, prefill),
    ):
        assert found is not None
        assert found.low <= measured <= found.high
        assert found.high < 6 * found.low  # or anything would


def test_it_ends_at_four_gibibytes_whatever_the_memory() -> None:
    for model_id, quantisation in (("gemma-7b", "q4_k"), ("gemma-2b", "fp16")):
        prediction = foresee(model_id, quantisation, 64 * GIB)
        assert prediction.verdict == "oom"
        assert "address space" in prediction.reason


def test_memory_limits_are_heeded() -> None:
    assert foresee("gemma-2b", "q4_k", 4 * GIB).verdict == "ok"
    assert foresee("gemma-2b", "q4_k", int(1.8 * GIB)).verdict == "oom"
    assert foresee("gemma-3-270m", "q8_0", 2 * GIB).verdict == "ok"


def test_the_adapter_is_told_where_everything_is() -> None:
    assert isinstance(WASM, WebRuntime)
    artifact = GgufRecipe().plan(MODELS["gemma-2b"]).artifact
    assert WASM.config(artifact, 2) == {
        "backend": "wasm",
        "module": "/npm/@wllama/wllama/esm/index.js",
        "wasm": "/npm/@wllama/wllama/esm/wasm/wllama.wasm",
        "threads": 2,
        "contextTokens": 2048,
        "needs": ["shader-f16"],
    }
