from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, Workload, find_quantisation
from harness.probe.predict import (
    UNKNOWN_BUDGET,
    Band,
    EngineCost,
    MemoryBudget,
    artifact_bytes,
    feasible,
    predict,
)
from harness.probe.report import ProbeReport, Unavailable
from results.record import Interval, Prediction
from tests.harness.probe.samples import ORT_WEB_WASM, ORT_WEB_WEBGPU, sample

WASM = sample("chromium_wasm")
WEBGPU = sample("chromium_swiftshader")
SMALL = MODELS["gemma-3-270m"]


def workload(model: str, quantisation: str = "int4", prompt: int = 32, output: int = 8) -> Workload:
    return Workload(model, quantisation, "engine", prompt, output)


def run(
    model: str = "gemma-3-270m",
    *,
    report: ProbeReport = WASM,
    engine: EngineCost = ORT_WEB_WASM,
    limits: MemoryBudget = UNKNOWN_BUDGET,
    **wanted: Any,
) -> Prediction:
    return predict(report, MODELS[model], workload(model, **wanted), engine, limits)


def changed(report: ProbeReport, **environment: Any) -> ProbeReport:
    here = report.environment.model_copy(update=environment)
    return report.model_copy(update={"environment": here})


def with_wasm(**changes: Any) -> ProbeReport:
    """The sample with its two-thread phase changed; `kernels` maps names to factors of rates."""
    data = WASM.model_dump()
    phase = data["backends"]["wasm"]["phases"][1]
    phase["duty"] = changes.get("duty", phase["duty"])
    for name, factor in changes.get("kernels", {}).items():
        for unit in ("bytes_per_s", "flops_per_s", "op_us"):
            summary = phase["kernels"][name][unit]
            if summary:
                for key in ("median", "p10", "p90"):
                    summary[key] *= factor
    for name in changes.get("unmeasured", ()):
        phase["kernels"][name]["bytes_per_s"] = None
    return ProbeReport.model_validate(data)


def known(interval: Interval | None) -> Interval:
    assert interval is not None
    assert interval.low <= interval.expected <= interval.high
    return interval


def decode(prediction: Prediction) -> float:
    return known(prediction.decode_tokens_per_s).expected


def test_all_is_predicted_for_a_small_model() -> None:
    prediction = run()
    assert prediction.verdict == "ok"
    assert feasible(prediction) == "yes"
    assert "memory limit is not known" in prediction.reason
    for interval in (
        prediction.load_seconds,
        prediction.first_token_seconds,
        prediction.prefill_tokens_per_s,
        prediction.decode_tokens_per_s,
        prediction.peak_memory_bytes,
    ):
        assert known(interval).low > 0
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction


def test_the_decode_time_is_its_terms() -> None:
    wasm = WASM.backends.wasm
    assert wasm is not None
    assert wasm.available
    phase = wasm.phase(2)
    body = phase.kernels["int4_layer"].bytes_per_s
    head = phase.kernels["int4_head"].bytes_per_s
    chain = phase.kernels["chain"].op_us
    assert body is not None
    assert head is not None
    assert chain is not None
    operations = 20 * SMALL.layers + 12
    seconds = (
        SMALL.body_parameters / 2 / body.median
        + SMALL.embedding_parameters / 2 / head.median
        + operations * chain.median / 1e6
    ) / phase.duty + (operations * 6 / 1e6 + 0.001)
    assert decode(run()) == pytest.approx(1 / seconds)


@pytest.mark.parametrize(
    ("model", "file_bytes"),
    # The sizes of files that were written in this format; norms and padding are the difference.
    [("gemma-3-270m", 188_942_848), ("gemma-3-1b-it", 663_663_104)],
)
def test_artifact_sizes_are_those_of_real_files(model: str, file_bytes: int) -> None:
    expected = artifact_bytes(MODELS[model], find_quantisation("int4"), ORT_WEB_WASM)
    assert expected == pytest.approx(file_bytes, rel=0.005)


@pytest.mark.parametrize(
    ("model", "measured"),
    # Peak resident size of renderer and GPU process, Chromium 156 on Linux, onnxruntime-web 1.30.
    [
        ("gemma-3-270m", 1_313_000_000),
        ("gemma-3-1b-it", 2_322_000_000),
        ("gemma-2b", 4_176_000_000),
        ("gemma-2-2b-it", 4_533_000_000),
    ],
)
def test_peak_memory_is_that_of_real_loads(model: str, measured: int) -> None:
    peak = known(run(model).peak_memory_bytes)
    assert peak.low < measured < peak.high
    assert peak.expected == pytest.approx(measured, rel=0.03)


@pytest.mark.parametrize(
    ("limit", "verdict", "answer"),
    [
        (20_000_000_000, "ok", "yes"),
        (4_200_000_000, "unknown", "unknown"),
        (3_500_000_000, "oom", "no"),
    ],
)
def test_memory_decides_on_feasibility(limit: int, verdict: str, answer: str) -> None:
    prediction = run("gemma-2b", limits=MemoryBudget(limit, "the cgroup"))
    assert prediction.verdict == verdict
    assert feasible(prediction) == answer
    assert "the cgroup" in prediction.reason
    assert prediction.decode_tokens_per_s is not None
    assert (prediction.tier is None) == (verdict == "unknown")


def test_an_address_space_is_a_limit_too() -> None:
    # 9 GB of weights do not fit 4 GiB, whatever the machine has.
    prediction = run("gemma-7b", limits=MemoryBudget(1 << 40))
    assert prediction.verdict == "oom"
    assert prediction.tier == "unsupported"
    assert "address space of 4.29 GB" in prediction.reason


def test_what_an_engine_cannot_load_is_unsupported() -> None:
    prediction = run(quantisation="fp16")
    assert prediction.verdict == "unsupported"
    assert prediction.reason == "onnxruntime-web/wasm does not load fp16 weights"
    assert prediction.tier == "unsupported"
    assert prediction.decode_tokens_per_s is None


def test_an_unknown_quantisation_is_the_users_error() -> None:
    with pytest.raises(UserError, match="unknown quantisation"):
        run(quantisation="int5")


def test_workload_and_model_belong_together() -> None:
    with pytest.raises(ValueError, match="the workload is for gemma-2b"):
        predict(WASM, SMALL, workload("gemma-2b"), ORT_WEB_WASM)
    with pytest.raises(ValueError, match="at least one token"):
        run(prompt=0)


def unavailable(reason: str, *, backend: str = "wasm") -> ProbeReport:
    result = Unavailable(available=False, reason=reason)
    source = WASM if backend == "wasm" else WEBGPU
    backends = source.backends.model_copy(update={backend: result})
    return source.model_copy(update={"backends": backends})


def test_a_browser_without_simd_is_unsupported() -> None:
    report = changed(unavailable("WebAssembly SIMD is missing"), wasm_simd=False)
    prediction = run(report=report)
    assert prediction.verdict == "unsupported"
    assert "WebAssembly SIMD is missing" in prediction.reason


def test_a_probe_that_failed_is_unknown_and_not_unsupported() -> None:
    prediction = run(report=unavailable("took longer than 14000 ms"))
    assert prediction.verdict == "unknown"
    assert prediction.tier is None
    assert prediction.peak_memory_bytes is not None


def test_memory_is_known_to_be_too_small_without_a_measurement() -> None:
    prediction = run(report=unavailable("broken"), limits=MemoryBudget(1_000_000))
    assert prediction.verdict == "oom"
    assert prediction.decode_tokens_per_s is None


def test_without_an_adapter_webgpu_is_unsupported() -> None:
    report = unavailable("requestAdapter() found no adapter", backend="webgpu")
    prediction = run(report=report, engine=ORT_WEB_WEBGPU)
    assert prediction.verdict == "unsupported"
    assert "no adapter" in prediction.reason


def test_a_backend_that_was_not_probed() -> None:
    assert run(report=WASM, engine=ORT_WEB_WEBGPU).verdict == "unknown"
    report = changed(WASM, webgpu=False)
    assert run(report=report, engine=ORT_WEB_WEBGPU).verdict == "unsupported"


def test_a_kernel_that_was_not_measured_leaves_it_unknown() -> None:
    prediction = run(report=with_wasm(unmeasured=["int4_head"]))
    assert prediction.verdict == "unknown"
    assert "not measured" in prediction.reason


def test_a_tensor_above_the_binding_limit_is_unsupported() -> None:
    data = WEBGPU.model_dump()
    data["backends"]["webgpu"]["adapter"]["limits"]["maxStorageBufferBindingSize"] = 128 << 20
    report = ProbeReport.model_validate(data)
    assert run("gemma-2b", report=report, engine=ORT_WEB_WEBGPU).verdict == "unsupported"
    assert run("gemma-3-270m", report=report, engine=ORT_WEB_WEBGPU).verdict == "ok"


def test_webgpu_on_a_software_adapter() -> None:
    # gemma-2b took 33 to 34 s a token on this adapter.
    tokens = known(run("gemma-2b", report=WEBGPU, engine=ORT_WEB_WEBGPU).decode_tokens_per_s)
    assert tokens.low < 1 / 33.5 < tokens.high


def test_threads_need_isolation_where_the_engine_says_so() -> None:
    alone = changed(WASM, cross_origin_isolated=False)
    one = decode(run(engine=replace(ORT_WEB_WASM, threads=1)))
    assert decode(run(report=alone)) == pytest.approx(one)
    free = replace(ORT_WEB_WASM, needs_isolation=False)
    assert decode(run(report=alone, engine=free)) == pytest.approx(decode(run()))


def test_fast_devices_reach_higher_tiers() -> None:
    names = ("int4_head", "int4_layer", "dequant_int4", "gemm_m16")
    tiers = [
        run(report=with_wasm(kernels=dict.fromkeys(names, factor))).tier for factor in (1, 10, 100)
    ]
    assert tiers[0] == "unsupported"
    assert tiers[2] == "high"


def test_bands_are_ordered() -> None:
    with pytest.raises(ValueError, match="does not hold"):
        Band(2, 1, 3)


factors = st.floats(min_value=0.05, max_value=20)


@given(factors, factors, st.sampled_from(["int4_head", "int4_layer", "chain"]))
def test_a_slower_kernel_never_predicts_a_faster_model(a: float, b: float, name: str) -> None:
    slow, fast = sorted((a, b), reverse=name == "chain")
    slower = run(report=with_wasm(kernels={name: slow}))
    faster = run(report=with_wasm(kernels={name: fast}))
    assert decode(slower) <= decode(faster) * (1 + 1e-9)


@given(st.floats(min_value=0.01, max_value=1), st.floats(min_value=0.01, max_value=1))
def test_throttling_never_makes_it_faster(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert decode(run(report=with_wasm(duty=low))) <= decode(run(report=with_wasm(duty=high)))


sizes = st.integers(min_value=1, max_value=40)


@given(sizes, sizes, st.sampled_from(["layers", "hidden", "ffn", "vocabulary"]))
def test_a_larger_model_is_never_faster_nor_smaller(a: int, b: int, dimension: str) -> None:
    small, large = (
        replace(SMALL, **{dimension: 64 * size})  # type: ignore[arg-type]
        for size in sorted((a, b))
    )
    one, two = (predict(WASM, m, workload(m.id), ORT_WEB_WASM) for m in (small, large))
    for name in ("decode_tokens_per_s", "prefill_tokens_per_s"):
        assert known(getattr(one, name)).expected >= known(getattr(two, name)).expected * (1 - 1e-9)
    for name in ("peak_memory_bytes", "load_seconds", "first_token_seconds"):
        assert known(getattr(one, name)).expected <= known(getattr(two, name)).expected * (1 + 1e-9)


@given(st.integers(min_value=1, max_value=4096), st.integers(min_value=1, max_value=4096))
def test_a_longer_prompt_never_answers_sooner(a: int, b: int) -> None:
    short, long = sorted((a, b))
    first, second = run(prompt=short), run(prompt=long)
    assert known(first.first_token_seconds).expected <= known(second.first_token_seconds).expected
    assert known(first.peak_memory_bytes).expected <= known(second.peak_memory_bytes).expected


@given(st.sampled_from(sorted(MODELS)), st.integers(min_value=1, max_value=1 << 40))
def test_a_verdict_of_oom_is_never_given_below_the_band(model: str, limit: int) -> None:
    engine = replace(ORT_WEB_WASM, heap_bytes=None)
    prediction = run(model, engine=engine, limits=MemoryBudget(limit))
    peak = known(prediction.peak_memory_bytes)
    expected = "oom" if peak.low > limit else "unknown" if peak.high > limit else "ok"
    assert prediction.verdict == expected
