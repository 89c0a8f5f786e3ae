from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.probe.report import REPORT_VERSION, ProbeReport, parse_report
from tests.harness.probe.samples import DATA, sample


def raw(name: str = "chromium_wasm") -> dict[str, Any]:
    data: dict[str, Any] = json.loads((DATA / f"{name}.json").read_bytes())
    return data


def test_a_real_report_of_webassembly() -> None:
    report = sample("chromium_wasm")
    wasm = report.backends.wasm
    assert wasm is not None
    assert wasm.available
    assert [phase.threads for phase in wasm.phases] == [1, 2]
    head = wasm.phase(2).kernels["int4_head"].in_unit("bytes_per_s")
    assert head is not None
    assert 1e7 < head.median < 1e10
    assert wasm.phase(2).kernels["int4_head"].in_unit("op_us") is None
    assert report.backends.webgpu is None


def test_what_version_1_did_not_say_is_unknown() -> None:
    report = sample("chromium_wasm")
    wasm = report.backends.wasm
    assert report.version == 1
    assert report.measure_ms is None
    assert report.settle is None
    assert wasm is not None
    assert wasm.available
    assert wasm.settle.duty is None
    assert [phase.drift for phase in wasm.phases] == [None, None]
    webgpu = sample("chromium_h200").backends.webgpu
    assert webgpu is not None
    assert webgpu.available
    assert (webgpu.duty, webgpu.drift, webgpu.settle) == (None, None, None)


def test_a_real_report_of_version_2() -> None:
    report = sample("chromium_wasm_2")
    wasm = report.backends.wasm
    assert report.version == REPORT_VERSION == 2
    assert report.settle is not None
    assert report.settle.steady
    assert report.measure_ms is not None
    assert report.measure_ms < 1500
    assert wasm is not None
    assert wasm.available
    one, two = wasm.phases
    assert "barrier" not in one.kernels
    assert set(two.kernels) - set(one.kernels) == {"barrier"}
    barrier = two.kernels["barrier"].in_unit("op_us")
    assert barrier is not None
    assert barrier.median < 10
    for phase in (one, two):
        assert phase.duty > 0.9
        assert phase.drift == pytest.approx(1, abs=0.1)
        small = phase.kernels["small_ops"].in_unit("op_us")
        assert small is not None
        assert 1 < small.median < 1000
        for name in ("dot_q4_k", "simd_int8", "simd_int4", "attention", "copy"):
            assert phase.kernels[name].in_unit("bytes_per_s") is not None


@pytest.mark.parametrize(
    "place", ["settle", "backends.wasm.settle", "backends.wasm.phases.1", "backends.wasm"]
)
def test_what_version_2_does_not_know_is_refused(place: str) -> None:
    text = change(f"{place}.colour", "red", "chromium_wasm_2")
    with pytest.raises(UserError, match="colour"):
        parse_report(text)


def test_a_real_report_of_a_software_adapter() -> None:
    webgpu = sample("chromium_swiftshader").backends.webgpu
    assert webgpu is not None
    assert webgpu.available
    assert webgpu.adapter.software
    assert webgpu.adapter.limit("maxStorageBufferBindingSize") == 1 << 30
    assert webgpu.adapter.limit("no such limit") is None


@pytest.mark.parametrize(("asked", "used"), [(1, 1), (2, 2), (8, 2), (0, 1)])
def test_the_phase_nearest_from_below(asked: int, used: int) -> None:
    wasm = sample("chromium_wasm").backends.wasm
    assert wasm is not None
    assert wasm.available
    assert wasm.phase(asked).threads == used


def test_reports_survive_the_way_through_json() -> None:
    report = sample("chromium_swiftshader")
    assert ProbeReport.model_validate_json(report.model_dump_json()) == report


def test_browsers_may_say_more_of_an_adapter() -> None:
    data = raw("chromium_swiftshader")
    data["backends"]["webgpu"]["adapter"]["info"]["colour"] = {"red": 1}
    data["backends"]["webgpu"]["adapter"]["limits"]["maxOfSomethingNew"] = 5
    webgpu = parse_report(json.dumps(data)).backends.webgpu
    assert webgpu is not None
    assert webgpu.available
    assert webgpu.adapter.limit("maxOfSomethingNew") == 5


def test_a_backend_that_could_not_be_measured() -> None:
    data = raw()
    data["backends"] = {"wasm": {"available": False, "reason": "WebAssembly SIMD is missing"}}
    wasm = parse_report(json.dumps(data)).backends.wasm
    assert wasm is not None
    assert not wasm.available


def change(path: str, value: Any, name: str = "chromium_wasm") -> str:
    data = raw(name)
    *parents, last = path.split(".")
    place: Any = data
    for parent in parents:
        place = place[int(parent) if parent.isdigit() else parent]
    place[last] = value
    return json.dumps(data)


MEDIAN = "backends.wasm.phases.0.kernels.int4_head.bytes_per_s.median"


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("version", 3, "version"),
        ("version", "1", "version"),
        ("surprise", 1, "surprise"),
        (MEDIAN, -1.0, "median"),
        (MEDIAN, 1e300, "p10 <= median <= p90"),
        (MEDIAN, float("inf"), "median"),
        (MEDIAN, None, "median"),
        ("backends.wasm.phases", [], "phases"),
        ("backends.wasm.phases.0.duty", 0, "duty"),
        ("backends.wasm.phases.0.duty", 1.5, "duty"),
        ("environment.user_agent", "x" * 5000, "user_agent"),
        ("environment.hardware_concurrency", -1, "hardware_concurrency"),
    ],
)
def test_what_is_not_a_report_is_refused_by_name(path: str, value: Any, named: str) -> None:
    with pytest.raises(UserError) as error:
        parse_report(change(path, value))
    assert named in str(error.value)
    assert "->" in str(error.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(json_values)
def test_any_other_json_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match="not a probe report"):
        parse_report(json.dumps(value))


@given(st.binary(max_size=100))
def test_any_other_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(UserError, match="not a probe report"):
        parse_report(value)
