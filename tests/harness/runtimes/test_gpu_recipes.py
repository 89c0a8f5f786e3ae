"""Predictions for a GPU against what was measured on it: all loads against one probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from harness.foresight import foresee
from harness.models import Workload
from harness.probe.predict import UNKNOWN_BUDGET
from harness.runtimes.base import on_a_gpu
from tests.harness.probe.samples import sample, second

if TYPE_CHECKING:
    from results.record import Interval

# One NVIDIA H200, Chromium 156, with the feature that lets wllama run there.
GPU = second("chromium_h200")


class Load(NamedTuple):
    """Medians of 1 to 4 loads: seconds, tokens a second, and GB of renderer and GPU process as the
    kernel charged them."""

    engine: str
    model: str
    weights: str
    prompt: int
    load: float
    first: float
    prefill: float
    decode: float
    peak: float
    tier: str


LOADS = [
    Load("wllama/webgpu", "gemma-3-270m", "q8_0", 16, 6.2, 0.46, 129, 32.9, 1.4, "medium"),
    Load("wllama/webgpu", "gemma-2b", "q4_k", 16, 8.64, 0.46, 120, 38.6, 2.81, "medium"),
    Load("wllama/webgpu", "gemma-2b", "q4_k", 512, 10.0, 0.99, 1023, 43.3, 2.81, "high"),
    Load("mediapipe/webgpu", "gemma-3-270m", "int4", 16, 1.93, 3.97, 258, 83.7, 0.875, "high"),
    Load("mediapipe/webgpu", "gemma-2b", "int4", 16, 2.98, 2.45, 225, 81, 1.27, "high"),
    Load("mediapipe/webgpu", "gemma-2b", "int4", 512, 2.81, 2.86, 4053, 88.5, 1.26, "high"),
    Load("litert-lm/webgpu", "gemma-3-270m", "int4", 16, 1.41, 3.11, 365, 77, 0.977, "high"),
    Load("litert-lm/webgpu", "gemma-2b", "int4", 16, 2.35, 2.18, 343, 67.8, 1.55, "high"),
    Load("litert-lm/webgpu", "gemma-2b", "int4", 512, 2.58, 3.3, 4920, 93.3, 1.63, "high"),
    Load("litert-lm/webgpu", "gemma-4-e2b", "int4", 16, 4.18, 3.54, 466, 70.6, 2.93, "high"),
    Load("onnxruntime-web/webgpu", "gemma-3-270m", "int4", 16, 1.52, 0.9, 766, 62.2, 0.702, "high"),
    Load("onnxruntime-web/webgpu", "gemma-2b", "int4", 16, 3.47, 0.81, 364, 56.5, 2.44, "high"),
    Load("onnxruntime-web/webgpu", "gemma-2b", "int4", 512, 4.01, 1.15, 5583, 55.9, 2.38, "high"),
]


def holds(interval: Interval | None, measured: float) -> bool:
    return interval is not None and interval.low <= measured <= interval.high


@pytest.mark.parametrize("seen", LOADS, ids=lambda seen: " ".join(map(str, seen[:4])))
def test_a_load_on_a_gpu_is_foreseen(seen: Load) -> None:
    workload = Workload(seen.model, seen.weights, seen.engine, seen.prompt, 8)
    prediction = foresee(GPU, workload, UNKNOWN_BUDGET)
    assert prediction.tier == seen.tier
    assert holds(prediction.load_seconds, seen.load)
    assert holds(prediction.first_token_seconds, seen.first)
    assert holds(prediction.prefill_tokens_per_s, seen.prefill)
    assert holds(prediction.decode_tokens_per_s, seen.decode)
    assert holds(prediction.peak_memory_bytes, seen.peak * 1e9)


def test_what_is_compiled_for_the_first_prompt_is_foreseen() -> None:
    """Most of the first token's 2 to 4 s, where the same prompt again takes a twentieth of it."""
    workload = Workload("gemma-3-270m", "int4", "mediapipe/webgpu", 16, 8)
    first = foresee(GPU, workload, UNKNOWN_BUDGET).first_token_seconds
    quick = GPU.model_dump()
    compile_ms = quick["backends"]["webgpu"]["compile_ms"]
    quick["backends"]["webgpu"]["compile_ms"] = dict.fromkeys(compile_ms, 0.0)
    without = foresee(type(GPU).model_validate(quick), workload, UNKNOWN_BUDGET).first_token_seconds
    assert first is not None
    assert without is not None
    assert first.expected > 2
    assert without.expected < 0.2


def test_an_adapter_in_software_is_no_gpu() -> None:
    assert on_a_gpu(GPU)
    assert not on_a_gpu(sample("chromium_swiftshader"))
    assert not on_a_gpu(sample("chromium_wasm"))


def test_half_floats_decide_on_wllama() -> None:
    """Chromium 156 keeps them from NVIDIA's GPUs on Linux unless it is told otherwise."""
    data = GPU.model_dump()
    data["backends"]["webgpu"]["adapter"]["features"].remove("shader-f16")
    without = type(GPU).model_validate(data)
    workload = Workload("gemma-2b", "q4_k", "wllama/webgpu", 16, 8)
    prediction = foresee(without, workload, UNKNOWN_BUDGET)
    assert prediction.verdict == "unsupported"
    assert "shader-f16" in prediction.reason
