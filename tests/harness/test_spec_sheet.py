"""The spec-sheet model: its arithmetic, the published figures, and what is fitted to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, QUANTISATIONS
from harness.probe.report import ProbeReport
from harness.profiles import PROFILES_DIRECTORY, load_profiles
from harness.runtimes import RUNTIMES
from harness.spec_sheet import fit
from harness.spec_sheet.check import compare
from harness.spec_sheet.engines import ENGINES, find_engine
from harness.spec_sheet.figures import (
    PROFILES,
    Row,
    figures_sha256,
    figures_text,
    read_figures,
)
from harness.spec_sheet.foresight import Asked, Foresight, foresee_sheet
from harness.spec_sheet.model import QUANTITIES, Storage, shipped, total
from harness.spec_sheet.shapes import SHAPES, find_shape
from harness.spec_sheet.sheet import Sheet, sheet_of
from results.observation import Quantity
from tests.harness.fakes import REPORT

SHIPPED = load_profiles()
ROWS = read_figures(figures_text(), SHIPPED)
PHONE = Sheet("phone", "android", 50e9, 2e12, 3e11, 12 << 30, 6 << 30, "what one app may use")
GEMMA = find_shape("gemma-2b")


def told(
    sheet: Sheet = PHONE,
    engine: str = "litert-lm/cpu",
    quantisation: str = "int4",
    prompt: int = 256,
) -> Foresight:
    asked = Asked(GEMMA, quantisation, prompt, 64)
    return foresee_sheet(sheet, asked, find_engine(engine), shipped())


def row(line: int) -> Row:
    return next(each for each in ROWS if each.line == line)


# ---- arithmetic ----

RATES = st.floats(min_value=1e9, max_value=1e12)


@given(RATES, RATES)
def test_more_bandwidth_is_never_slower(one: float, other: float) -> None:
    low, high = sorted((one, other))
    slow, fast = (told(replace(PHONE, bandwidth=each)).prediction for each in (low, high))
    assert slow.decode_tokens_per_s
    assert fast.decode_tokens_per_s
    assert slow.prefill_tokens_per_s
    assert fast.prefill_tokens_per_s
    assert slow.decode_tokens_per_s.expected <= fast.decode_tokens_per_s.expected
    assert slow.prefill_tokens_per_s.expected <= fast.prefill_tokens_per_s.expected


@given(RATES, RATES)
def test_more_operations_a_second_never_prefill_slower_and_change_no_decode(
    one: float, other: float
) -> None:
    low, high = sorted((one, other))
    slow, fast = (told(replace(PHONE, cpu_flops=each)).prediction for each in (low, high))
    assert slow.prefill_tokens_per_s
    assert fast.prefill_tokens_per_s
    assert slow.prefill_tokens_per_s.expected <= fast.prefill_tokens_per_s.expected
    assert slow.decode_tokens_per_s == fast.decode_tokens_per_s


@given(st.lists(st.floats(min_value=2, max_value=32), min_size=2, max_size=2))
def test_more_bits_are_more_bytes(bits: list[float]) -> None:
    low, high = sorted(bits)
    for shape in SHAPES.values():
        small, large = Storage(low, low), Storage(high, high)
        assert small.decode_bytes(shape) <= large.decode_bytes(shape)
        assert small.file_bytes(shape) <= large.file_bytes(shape)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["desktop", "android", "ios"])
def test_bounds_hold_what_is_expected_and_terms_add_up(engine: str, kind: str) -> None:
    quantisation = find_engine(engine).quantisations[0]
    found = told(replace(PHONE, kind=kind), engine, quantisation)  # type: ignore[arg-type]
    prediction = found.prediction
    if prediction.verdict == "unsupported":
        assert found.steps[-1].outcome == "no"
        assert prediction.terms == {}
        return
    decode, prefill = prediction.decode_tokens_per_s, prediction.prefill_tokens_per_s
    peak = prediction.peak_memory_bytes
    assert decode
    assert prefill
    assert peak
    for interval in (decode, prefill, peak):
        assert interval.low <= interval.expected <= interval.high
    assert total(prediction.terms["decode"]) == pytest.approx(1 / decode.expected)
    assert total(prediction.terms["prefill"]) == pytest.approx(256 / prefill.expected)
    assert total(prediction.terms["memory"]) == pytest.approx(peak.expected)
    assert set(found.factors) == {Quantity.DECODE, Quantity.PREFILL, Quantity.MEMORY}


def test_a_golden_prediction() -> None:
    found = told()
    # 2.506e9 parameters at 4.5 bits and 1280 tokens of fp32 keys and values at 50 GB/s.
    weights, attention, fixed = found.prediction.terms["decode"].values()
    assert weights.base == pytest.approx(2_506_096_640 * 4.5 / 8 / 50e9, rel=1e-3)
    assert attention.base == pytest.approx(1280 * 18 * 2 * 256 * 4 / 50e9)
    assert fixed.base == 1e-3
    assert found.prediction.decode_tokens_per_s
    assert found.prediction.decode_tokens_per_s.expected == pytest.approx(14.1, rel=0.02)
    assert found.prediction.calibrated


# ---- what a sheet does not say ----


@pytest.mark.parametrize(
    ("missing", "engine", "unknown", "reason"),
    [
        ("bandwidth", "litert-lm/cpu", {"decode", "prefill"}, "no bandwidth_gb_s"),
        ("gpu_flops", "litert-lm/gpu", {"prefill"}, "no gpu_gflops_f32"),
        ("cpu_flops", "wllama/wasm", {"prefill"}, "no cpu_gflops_f32"),
    ],
)
def test_what_is_not_known_is_said(
    missing: str, engine: str, unknown: set[str], reason: str
) -> None:
    nothing: dict[str, Any] = {missing: None}
    found = told(replace(PHONE, **nothing), engine, find_engine(engine).quantisations[0])
    never = {Quantity.LOAD, Quantity.FIRST_TOKEN}
    assert {str(quantity) for quantity in found.unknown if quantity not in never} == unknown
    assert all(reason in found.unknown[Quantity(each)] for each in unknown)
    assert reason in found.prediction.reason
    assert found.prediction.tier is None
    assert (found.prediction.verdict == "unknown") == ("decode" in unknown)


def test_memory_is_judged_by_its_bounds() -> None:
    verdicts = [
        told(replace(PHONE, budget=budget)).prediction.verdict
        for budget in (500 << 20, 2 << 30, 8 << 30, None)
    ]
    assert verdicts == ["oom", "unknown", "ok", "ok"]


def test_structure_comes_before_memory() -> None:
    tiny = replace(PHONE, budget=1 << 20)
    found = told(tiny, "mediapipe/webgpu", "fp16")
    assert [step.name for step in found.steps] == ["engine"]
    assert found.prediction.reason == "mediapipe/webgpu takes int4, int8, not fp16"
    assert [step.name for step in told(tiny).steps] == [
        "engine", "device", "address space", "memory",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sheet", "engine", "reason"),
    [
        (replace(PHONE, kind="ios", release="18"), "mediapipe/webgpu", "iOS 18 has no WebGPU"),
        (replace(PHONE, webgpu=False), "mediapipe/webgpu", "its browser has no WebGPU"),
        (replace(PHONE, kind="desktop"), "litert-lm/gpu", "is for android, not for desktop"),
    ],
)
def test_an_engine_that_is_not_there(sheet: Sheet, engine: str, reason: str) -> None:
    prediction = told(sheet, engine).prediction
    assert prediction.verdict == "unsupported"
    assert reason in prediction.reason


def test_an_address_space_ends() -> None:
    found = told(engine="litert-lm/wasm", quantisation="int8")
    assert found.steps[-1].name == "address space"
    assert "of litert-lm/wasm's address space of 4.29 GB" in found.prediction.reason


def test_llama_cpp_has_names_of_its_own() -> None:
    engine = find_engine("llama.cpp/native")
    assert engine.id == "llama.cpp/cpu"
    assert engine.quantisation("int4", GEMMA) == "q4_k"
    assert engine.quantisation("int4", find_shape("gemma-3-270m")) == "q4_0"
    assert engine.quantisation("int8", GEMMA) == "q8_0"


# ---- every profile ----


@pytest.mark.parametrize("device", SHIPPED)
def test_every_profile_is_answered_or_says_what_is_unknown(device: str) -> None:
    sheet = sheet_of(SHIPPED[device])
    for engine in ENGINES.values():
        if sheet.kind not in engine.kinds:
            continue
        asked = Asked(GEMMA, engine.quantisations[0], 256, 64)
        found = foresee_sheet(sheet, asked, engine, shipped())
        prediction = found.prediction
        assert prediction.reason
        if prediction.verdict != "unsupported":
            decode, prefill = prediction.decode_tokens_per_s, prediction.prefill_tokens_per_s
            assert (decode is None) == (Quantity.DECODE in found.unknown)
            assert (prefill is None) == (Quantity.PREFILL in found.unknown)
        assert (prediction.tier is None) == (
            prediction.verdict == "unknown"
            or (prediction.verdict == "ok" and Quantity.PREFILL in found.unknown)
        )


# ---- engines and shapes fit the rest of the project ----


def test_engines_in_a_page_are_those_of_the_project() -> None:
    report = ProbeReport.model_validate(REPORT)
    for engine in ENGINES.values():
        if engine.web:
            runtime = RUNTIMES[engine.id]
            assert set(engine.quantisations) <= set(runtime.quantisations)
            taken = runtime.exact_quantisation(MODELS["gemma-2b"], "int4")
            assert engine.quantisation("int4", GEMMA) == taken
            assert runtime.threads(report) >= 1
    assert {name for name, runtime in RUNTIMES.items() if runtime.backend != "native"} == {
        engine.id for engine in ENGINES.values() if engine.web
    }
    assert all(find_engine(name) for name in RUNTIMES)


def test_shapes_are_those_of_the_catalogue_and_of_published_figures() -> None:
    for model in MODELS.values():
        shape = SHAPES[model.id]
        assert shape.decode_parameters == model.decode_parameters
        assert 2 * shape.kv_values == model.kv_bytes_per_token()
        for quantisation in QUANTISATIONS.values():
            stored = Storage.of(quantisation).file_bytes(shape)
            assert stored == pytest.approx(model.weight_bytes(quantisation), rel=1e-6)
    # The published totals: huggingface.co's cards say 1.24 and 3.21 billion.
    assert SHAPES["llama-3.2-1b"].stored == pytest.approx(1.24e9, rel=0.005)
    assert SHAPES["llama-3.2-3b"].stored == pytest.approx(3.21e9, rel=0.005)
    assert SHAPES["gemma-3-27b"].stored == pytest.approx(27e9, rel=0.01)
    assert SHAPES["gemma-3n-e4b"].body == pytest.approx(3.8902e9, rel=0.001)
    assert SHAPES["gemma-4-e2b"].prefill < SHAPES["gemma-4-e2b"].body


@pytest.mark.parametrize(
    ("find", "word", "hint"),
    [
        (find_shape, "gema-2b", "did you mean gemma-2b"),
        (find_engine, "litert-lm/gpus", "did you mean litert-lm/gpu"),
    ],
)
def test_an_unknown_name_names_the_nearest(find: object, word: str, hint: str) -> None:
    assert callable(find)
    with pytest.raises(UserError, match=hint):
        find(word)


# ---- the figures ----


def test_every_row_has_a_profile_a_source_and_a_figure_or_a_reason() -> None:
    assert len(ROWS) == 63
    for each in ROWS:
        assert each.sheet is not None, each.device
        assert each.source
        assert each.measured or each.line == 45
    assert set(PROFILES.values()) <= set(SHIPPED)
    computed = [each for each in ROWS if not each.unusable]
    assert len(computed) == 45


def test_two_machines_of_one_name_are_told_apart() -> None:
    assert [row(line).sheet and row(line).sheet.device for line in (16, 31)] == [  # type: ignore[union-attr]
        "macbook-pro-m4-max", "macbook-pro-m4",
    ]  # fmt: skip


def test_a_row_is_read_as_published() -> None:
    first = row(3)
    assert first.family == "xnnpack/cpu"
    assert first.load
    assert first.load.context == 1280
    assert first.load.kv_bytes == 4
    # The published file has 657 MB.
    assert first.load.storage.file_bytes(first.load.shape) == pytest.approx(657e6, rel=0.02)
    assert first.measured == {"decode": 50, "prefill": 138, "memory": 982e6}
    # In a browser the GPU's process counts as well.
    assert row(21).measured["memory"] == (1500 + 26800) * 1e6


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (15, "an NPU"),
        (42, "the profile desktop-rdna4 has no bandwidth_gb_s"),
        (57, "decodes speculatively"),
        (61, "the profile galaxy-a34 has no bandwidth_gb_s"),
        (64, "the shape of gemma-4-26B-A4B-it is not known"),
    ],
)
def test_what_cannot_be_computed_says_why(line: int, reason: str) -> None:
    assert reason in str(row(line).why_not("decode"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",decode_tps,", ",decode,", "there is no column 'decode_tps'"),
        (",49,10,", ",49,ten,", "line 2: decode_tps: 'ten' is no number above 0"),
        (",49,10,", ",49,-1,", "line 2: decode_tps: '-1' is no number above 0"),
        (",49,10,", ",nan,10,", "line 2: prefill_tps: 'nan' is no number above 0"),
    ],
)
def test_a_mistake_in_the_figures_is_told(old: str, new: str, said: str) -> None:
    text = figures_text()
    assert old in text
    with pytest.raises(UserError, match=said):
        read_figures(text.replace(old, new, 1), SHIPPED)


# ---- the fit ----


def test_the_shipped_factors_are_those_of_the_shipped_figures_and_profiles() -> None:
    again = fit.coefficients(ROWS)
    assert again == shipped(), "stale: python -m harness.spec_sheet.fit"
    assert again.figures_sha256 == figures_sha256()


def test_a_fit_finds_what_made_the_figures() -> None:
    truth = {"weights": 2.5, "attention": 2.5, "fixed": 5.0}
    made = [
        replace(each, measured={"decode": 1 / fit.predicted(each, "decode", truth)})
        for each in fit.usable(fit.within(ROWS, "mediapipe/webgpu"), "decode")
    ]
    found = fit.fit(made, "decode")
    assert found
    assert found["weights"] == pytest.approx(2.5, rel=0.03)
    assert found["fixed"] == pytest.approx(5, rel=0.12)


def test_one_row_far_off_does_not_lead() -> None:
    rows = fit.within(ROWS, "xnnpack/cpu")
    spoilt = [
        replace(each, measured={**each.measured, "decode": 0.01}) if each.line == 32 else each
        for each in rows
    ]
    before, after = (fit.fit(each, "decode") for each in (rows, spoilt))
    assert before
    assert after
    assert after["weights"] == pytest.approx(before["weights"], rel=0.25)


def test_a_device_left_out_has_no_part_in_its_own_prediction() -> None:
    device = fit.device_of
    before = fit.left_out(ROWS, "xnnpack/cpu", "decode", device)
    changed = [
        replace(each, measured={name: 7 * value for name, value in each.measured.items()})
        if device(each) == "oneplus-12"
        else each
        for each in ROWS
    ]
    after = fit.left_out(changed, "xnnpack/cpu", "decode", device)
    mine = [each.line for each in ROWS if device(each) == "oneplus-12"]
    for line in mine:
        # Predicted seconds are the same, and measured ones a seventh.
        assert after[line] == pytest.approx(7 * before[line])


@given(st.lists(st.floats(min_value=0.01, max_value=100), min_size=1, max_size=60))
def test_the_reach_holds_nine_of_ten(ratios: list[float]) -> None:
    factor = fit.reach(ratios)
    held = sum(1 / factor * 0.999999 <= ratio <= factor * 1.000001 for ratio in ratios)
    assert factor >= 1
    assert held >= 0.9 * len(ratios)


def test_every_published_figure_is_compared_or_says_why_not() -> None:
    compared = compare(ROWS)
    assert len(compared) == sum(len(each.measured) for each in ROWS)
    for each in compared:
        assert (each.predicted is None) == (each.reason is not None)
    decode = sorted(
        abs(each.error) for each in compared if each.error is not None and each.quantity == "decode"
    )
    # Of devices that the fit has not seen: far from a probe, and no nonsense.
    assert len(decode) >= 40
    assert decode[len(decode) // 2] < 0.45


def test_the_documented_errors_are_those_of_today() -> None:
    text = (PROFILES_DIRECTORY.parent / "docs" / "spec-sheet.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    family = ""
    found = 0
    for cells in rows:
        if len(cells) != 6 or cells[1] not in QUANTITIES:
            continue
        family = cells[0] or family
        quantity = next(each for each in QUANTITIES if each == cells[1])
        mine = fit.usable(fit.within(ROWS, family), quantity)
        assert [cells[2], cells[3]] == [str(len(mine)), str(len(set(map(fit.device_of, mine))))]
        for cell, by in ((cells[4], fit.device_of), (cells[5], fit.model_of)):
            ratios = fit.left_out(ROWS, family, quantity, by)
            said = fit.middle(fit.errors(ratios.values(), quantity))
            assert said
            assert cell.split(" / ")[0] == f"{said[0]:.0%}".replace("%", " %")
            assert cell.split(" / ")[-1] == f"{said[1]:.0%}".replace("%", " %")
        found += 1
    assert found == 11
