from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, find_quantisation
from harness.probe.calibrated import CALIBRATION_PATH, shipped
from harness.probe.predict import (
    MOST_UNSTEADY,
    UNKNOWN_BUDGET,
    MemoryBudget,
    feasible,
    predict,
    unsteadiness,
)
from harness.probe.report import ProbeReport, Unavailable
from harness.probe.terms import Demand
from results.calibration import Calibration, Fit, Training
from results.observation import Quantity
from results.record import Interval, Prediction
from tests.harness.probe.samples import (
    ORT_WEB_WASM,
    ORT_WEB_WEBGPU,
    demand,
    engine,
    sample,
    second,
)

if TYPE_CHECKING:
    from harness.probe.recipe import EngineRecipe

WASM = second("chromium_wasm")
WEBGPU = sample("chromium_swiftshader")
SMALL = MODELS["gemma-3-270m"]
WLLAMA = engine("wllama/wasm", "q8_0")


def run(
    model: str = "gemma-3-270m",
    quantisation: str = "int4",
    *,
    report: ProbeReport = WASM,
    recipe: EngineRecipe = ORT_WEB_WASM,
    limits: MemoryBudget = UNKNOWN_BUDGET,
    calibration: Calibration | None = None,
    **wanted: Any,
) -> Prediction:
    asked = demand(model, quantisation, **wanted)
    return predict(report, asked, recipe, limits, calibration)


def changed(report: ProbeReport, **environment: Any) -> ProbeReport:
    here = report.environment.model_copy(update=environment)
    return report.model_copy(update={"environment": here})


def with_wasm(**changes: Any) -> ProbeReport:
    """The sample with its two-thread phase changed; `kernels` maps names to factors of rates."""
    data = WASM.model_dump()
    phase = data["backends"]["wasm"]["phases"][1]
    phase |= {name: changes[name] for name in ("duty", "drift") if name in changes}
    data["backends"]["wasm"]["settle"]["steady"] = changes.get("steady", True)
    for name, factor in changes.get("kernels", {}).items():
        for unit in ("bytes_per_s", "flops_per_s", "op_us"):
            summary = phase["kernels"][name][unit]
            if summary:
                for key in ("median", "p10", "p90"):
                    summary[key] *= factor
    for name in changes.get("unmeasured", ()):
        phase["kernels"][name]["bytes_per_s"] = None
    return ProbeReport.model_validate(data)


def calibration(recipe: str, **fits: Fit) -> Calibration:
    return Calibration(
        probe_version=2,
        training=Training(
            trials=9, sha256="0" * 64, devices=("a",), models=("b",), processors=("c",), newest=""
        ),
        engines={recipe: {Quantity(name): fit for name, fit in fits.items()}},
    )


def fit(low: float = 0.9, high: float = 1.2, **factors: float) -> Fit:
    return Fit(
        factors={name.replace("__", "."): value for name, value in factors.items()},
        low=low,
        high=high,
        n=9,
        devices=3,
        median_error=0.05,
        p90_error=0.15,
    )


def known(interval: Interval | None) -> Interval:
    assert interval is not None
    assert 0 < interval.low <= interval.expected <= interval.high
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
    assert not prediction.calibrated
    assert Prediction.model_validate_json(prediction.model_dump_json()) == prediction


@pytest.mark.parametrize(("quantity"), list(Quantity))
def test_a_prediction_is_the_sum_of_its_terms(quantity: Quantity) -> None:
    prediction = run(prompt=50)
    total = sum(term.base * term.factor for term in prediction.terms[quantity].values())
    expected = {
        Quantity.LOAD: known(prediction.load_seconds).expected,
        Quantity.FIRST_TOKEN: known(prediction.first_token_seconds).expected,
        Quantity.PREFILL: 50 / known(prediction.prefill_tokens_per_s).expected,
        Quantity.DECODE: 1 / decode(prediction),
        Quantity.MEMORY: known(prediction.peak_memory_bytes).expected,
    }
    assert total == pytest.approx(expected[quantity])


def test_the_first_token_builds_on_the_prefill() -> None:
    prediction = run(prompt=40)
    (term,) = prediction.terms["first_token"].values()
    assert term.base == pytest.approx(40 / known(prediction.prefill_tokens_per_s).expected)


@pytest.mark.parametrize(
    ("model", "file_bytes", "measured"),
    # Peak resident size of renderer and GPU process, Chromium 156 on Linux, onnxruntime-web 1.30.
    [
        ("gemma-3-270m", 206e6, 1_313_000_000),
        ("gemma-3-1b-it", 681e6, 2_322_000_000),
        ("gemma-2b", 1641e6, 4_176_000_000),
        ("gemma-2-2b-it", 1717e6, 4_533_000_000),
    ],
)
def test_peak_memory_is_that_of_real_loads(model: str, file_bytes: float, measured: int) -> None:
    peak = known(run(model, file_bytes=int(file_bytes)).peak_memory_bytes)
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
    prediction = run(report=report, recipe=ORT_WEB_WEBGPU)
    assert prediction.verdict == "unsupported"
    assert "no adapter" in prediction.reason


def test_a_backend_that_was_not_probed() -> None:
    assert run(report=WASM, recipe=ORT_WEB_WEBGPU).verdict == "unknown"
    report = changed(WASM, webgpu=False)
    assert run(report=report, recipe=ORT_WEB_WEBGPU).verdict == "unsupported"


def test_a_kernel_that_was_not_measured_leaves_it_unknown() -> None:
    prediction = run(report=with_wasm(unmeasured=["dequant_int4"]))
    assert prediction.verdict == "unknown"
    assert "not measured" in prediction.reason
    assert prediction.prefill_tokens_per_s is prediction.first_token_seconds is None
    assert known(prediction.decode_tokens_per_s)  # has no need of it
    assert known(prediction.load_seconds)


def test_a_report_of_version_1_lacks_what_newer_terms_need() -> None:
    prediction = run(quantisation="q8_0", report=sample("chromium_wasm"), recipe=WLLAMA)
    assert prediction.verdict == "unknown"
    assert run(quantisation="q8_0", recipe=WLLAMA).verdict == "ok"
    assert run(report=sample("chromium_wasm")).verdict == "ok"


def test_the_speed_of_a_native_engine_is_not_predicted() -> None:
    prediction = run(quantisation="q8_0", recipe=engine("llama.cpp/native", "q8_0"))
    assert prediction.verdict == "unknown"
    assert prediction.reason == "the speed of llama.cpp/native is not predicted"
    assert prediction.load_seconds
    assert prediction.peak_memory_bytes


def test_a_tensor_above_the_binding_limit_is_unsupported() -> None:
    data = WEBGPU.model_dump()
    data["backends"]["webgpu"]["adapter"]["limits"]["maxStorageBufferBindingSize"] = 128 << 20
    report = ProbeReport.model_validate(data)
    assert run("gemma-2b", report=report, recipe=ORT_WEB_WEBGPU).verdict == "unsupported"
    assert run("gemma-3-270m", report=report, recipe=ORT_WEB_WEBGPU).verdict == "ok"


def test_webgpu_on_a_software_adapter() -> None:
    # gemma-2b took 33 to 34 s a token on this adapter.
    tokens = known(run("gemma-2b", report=WEBGPU, recipe=ORT_WEB_WEBGPU).decode_tokens_per_s)
    assert tokens.low < 1 / 33.5 < tokens.high


def test_threads_are_those_that_the_engine_runs_with() -> None:
    assert decode(run(threads=1)) < decode(run(threads=2))
    # The probe had two: nothing is known of more.
    assert decode(run(threads=8)) == decode(run(threads=2))


def test_fast_devices_reach_higher_tiers() -> None:
    names = ("int4_head", "int4_layer", "dequant_int4", "gemm_m16")
    tiers = [
        run(report=with_wasm(kernels=dict.fromkeys(names, factor))).tier for factor in (1, 10, 100)
    ]
    assert tiers[0] == "unsupported"
    assert tiers[2] == "high"


# --- fits ---


def test_a_fit_takes_the_place_of_the_recipes_own_factors() -> None:
    fitted = calibration("wllama/wasm", decode=fit(matrix__q8_0=2.0, small=0.0))
    prediction = run(quantisation="q8_0", recipe=WLLAMA, calibration=fitted)
    (term,) = prediction.terms["decode"].items()  # a factor of 0 is no term
    assert term[0] == "matrix.q8_0"
    assert term[1].factor == 2.0
    expected = 1 / (2.0 * term[1].base)
    rate = known(prediction.decode_tokens_per_s)
    assert (rate.low, rate.expected, rate.high) == pytest.approx(
        (expected / 1.2, expected, expected / 0.9)
    )
    assert not prediction.calibrated  # the others are still the recipe's


def test_only_what_is_fitted_throughout_is_calibrated() -> None:
    fitted = calibration(
        "wllama/wasm",
        decode=fit(matrix__q8_0=2.0),
        prefill=fit(product__q8_0=2.0),
        load=fit(bytes=5.0),
        first_token=fit(prefill=1.0, fixed=0.1),
        memory=fit(file=1.4, fixed=0.5),
    )
    assert run(quantisation="q8_0", recipe=WLLAMA, calibration=fitted).calibrated
    # Its records had no such weights: the sum without them would promise far too much.
    other = run(quantisation="q4_0", recipe=WLLAMA, calibration=fitted)
    assert not other.calibrated
    assert other.terms["decode"]["matrix.q4_0"].factor == 1.0
    assert other.terms["memory"]["file"].factor == 1.4


def test_a_fit_without_any_matrices_is_for_all_weights() -> None:
    """On a fast GPU nothing but what lies between its commands may be left of a token."""
    fitted = calibration("wllama/wasm", decode=fit(small=2.0, matrix__q8_0=0.0))
    assert set(run(quantisation="q4_0", recipe=WLLAMA, calibration=fitted).terms["decode"]) == {
        "small"
    }


@pytest.mark.parametrize(
    ("limit", "verdict"), [(1_260_000_000, "oom"), (1_280_000_000, "ok"), (None, "ok")]
)
def test_a_fit_says_from_where_on_to_refuse(limit: int | None, verdict: str) -> None:
    memory = fit(0.8, 1.5, fixed=1.0).model_copy(update={"margin": 1.27})
    prediction = run(
        quantisation="q8_0",
        recipe=WLLAMA,
        calibration=calibration("wllama/wasm", memory=memory),
        limits=MemoryBudget(limit, "the cgroup"),
    )
    assert prediction.verdict == verdict
    if verdict == "oom":
        assert prediction.reason == (
            "peaks at 0.80 to 1.50 GB and wants 1.27 GB, above the limit of 1.26 GB (the cgroup)"
        )


def test_the_shipped_calibration_is_of_this_version() -> None:
    found = shipped()
    assert (found is not None) == CALIBRATION_PATH.is_file()


def test_a_broken_calibration_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calibration.json"
    path.write_text("{}")
    monkeypatch.setattr("harness.probe.calibrated.CALIBRATION_PATH", path)
    shipped.cache_clear()
    try:
        with pytest.raises(UserError, match="fit it again"):
            shipped()
        path.unlink()
        assert shipped() is None
    finally:
        shipped.cache_clear()


# --- probes that were not steady ---


@pytest.mark.parametrize(
    ("changes", "wider"),
    [
        ({"drift": 1.0}, 1.0),
        ({"drift": 1.09}, 1.0),
        ({"drift": 1.32}, 1.2),
        ({"drift": 1 / 1.32}, 1.2),
        ({"steady": False, "drift": None}, 1.5),
        ({"steady": False, "drift": 1.32}, 1.8),
        ({"steady": False, "drift": 100.0}, MOST_UNSTEADY),
    ],
)
def test_intervals_are_wider_for_a_probe_that_was_not_steady(
    changes: dict[str, Any], wider: float
) -> None:
    report = with_wasm(**changes)
    assert unsteadiness(report, ORT_WEB_WASM, 2) == pytest.approx(wider)
    steady, found = run(), run(report=report)
    before, after = known(steady.decode_tokens_per_s), known(found.decode_tokens_per_s)
    assert after.expected == before.expected
    assert after.low == pytest.approx(before.low / wider)
    assert after.high == pytest.approx(before.high * wider)
    assert found.peak_memory_bytes == steady.peak_memory_bytes


def test_a_gpu_says_so_itself() -> None:
    data = WEBGPU.model_dump()
    assert unsteadiness(WEBGPU, ORT_WEB_WEBGPU, 1) == 1.0  # of version 1: it does not say
    data["backends"]["webgpu"] |= {
        "drift": 1.65,
        "settle": {"steady": False, "windows": 9, "wall_ms": 3000.0},
    }
    assert unsteadiness(ProbeReport.model_validate(data), ORT_WEB_WEBGPU, 1) == pytest.approx(
        1.5 * 1.5
    )


# --- what always holds ---

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
    int4 = find_quantisation("int4")
    one, two = (
        predict(WASM, Demand(m, int4, 32, 8, m.weight_bytes(int4), 2), ORT_WEB_WASM)
        for m in (
            replace(SMALL, **{dimension: 64 * size})  # type: ignore[arg-type]
            for size in sorted((a, b))
        )
    )
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
    recipe = replace(ORT_WEB_WASM, heap_bytes=None)
    prediction = run(model, recipe=recipe, limits=MemoryBudget(limit))
    peak = known(prediction.peak_memory_bytes)
    expected = "oom" if peak.low > limit else "unknown" if peak.high > limit else "ok"
    assert prediction.verdict == expected
