"""Line protocol: what goes in is what a database reads, whatever a device said."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from influxdb_client.client.write.point import Point as ClientPoint

from results.figures import METRICS, Figures
from results.influx.lines import (
    NOTHING,
    STRING_LENGTH,
    TAG_LENGTH,
    line,
    lines_of,
    outbox_line,
    string_value,
    tag_value,
    tags_of,
    time_of,
)
from results.influx.schema import HEALTH, KERNELS, MEASUREMENTS, MEMORY, OUTBOX, Type
from results.memory_curve import FILE_NAME
from results.record import Conditions, Judgement, Prediction, Record, Verdict, WorkloadRecord
from tests.results.influx.influxd import BUCKET, Influxd, ask, running_influx
from tests.results.influx.line_protocol import Point, parse
from tests.results.influx.varied import REPORTS, WASM_REPORT, WEBGPU_REPORT, complete, with_curve
from tests.results.records import JSON, NUMBER, RECORDS, SIZE, interval, maybe, record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from results.influx.schema import Measurement as Kind

KNOWN = {measurement.name: measurement for measurement in MEASUREMENTS}
PYTHON_TYPES = {Type.FLOAT: float, Type.INTEGER: int, Type.BOOLEAN: bool, Type.STRING: str}

# Text as an attacker has it: what line protocol, terminals and databases take for their own.
ODD = "\\,= \"\n\r\t\0\x1b\u2028\u202e'`#/$*()|;a\u00e4\U0001f600"
HOSTILE = st.text(st.sampled_from(ODD), max_size=12) | st.sampled_from(
    [
        "x,verdict=ok ok=1 1\ntrial,profile=pixel ok=1 1",
        '" ,x=1i 1\n',
        "\\",
        "a\\,b=c\\ ",
        "'; DROP DATABASE lab; --",
        "z" * 2000,
        " ",
    ]
)
CONDITIONS = st.builds(
    Conditions,
    harness_version=HOSTILE,
    browser=HOSTILE,
    browser_version=HOSTILE,
    runtime_version=HOSTILE,
    adapter=maybe(HOSTILE),
    software_adapter=maybe(st.booleans()),
    threads=maybe(st.integers()),
    operating_system=HOSTILE,
    cpu=HOSTILE,
    cores=st.integers(),
    memory_bytes=st.integers(min_value=0, max_value=2**80),
    load_average=maybe(NUMBER),
    host_at_rest=maybe(st.booleans()),
    temperature_celsius=maybe(NUMBER),
)
WORKLOADS = st.builds(
    WorkloadRecord,
    model=HOSTILE,
    quantisation=HOSTILE,
    runtime=HOSTILE | st.just("mediapipe/webgpu"),
    prompt_tokens=st.integers(),
    output_tokens=SIZE,
    source=HOSTILE,
    variant=HOSTILE,
)
ANY_RECORD = st.builds(
    lambda whole, **changes: whole.model_copy(update=changes),
    RECORDS,
    conditions=CONDITIONS,
    workload=WORKLOADS,
    run_id=HOSTILE,
    explanation=HOSTILE,
    judgement_reason=HOSTILE,
    probe=st.sampled_from([None, WASM_REPORT]) | maybe(st.dictionaries(HOSTILE, JSON, max_size=3)),
)


def conforms(point: Point) -> Kind:
    """The measurement of a point that follows the schema in all."""
    measurement = KNOWN[point.measurement]
    assert [name for name, _ in point.tags] == sorted(tag.name for tag in measurement.tags)
    names = [name for name, _ in point.fields]
    assert len(set(names)) == len(names)
    for name, value in point.fields:
        assert type(value) is PYTHON_TYPES[measurement.field_types[name]], name
        if isinstance(value, float):
            assert math.isfinite(value)
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
    assert -(2**63) < point.time < 2**63 - 1
    return measurement


def points(record: Record, results: Path | None = None) -> dict[str, list[Point]]:
    """The points of a record by measurement, all checked."""
    found: dict[str, list[Point]] = {name: [] for name in KNOWN}
    for text in lines_of(record, results):
        assert not any(ord(character) < 0x20 for character in text)
        assert len(text.encode()) < 64_000
        point = parse(text)
        conforms(point)
        found[point.measurement].append(point)
    return found


def trial(record: Record) -> Point:
    [point] = points(record)["trial"]
    return point


# ---- the schema ----


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda m: m.name)
def test_the_schema_is_one_that_every_influxdb_takes(measurement: Kind) -> None:
    names = [tag.name for tag in measurement.tags] + [field.name for field in measurement.fields]
    assert len(set(names)) == len(names), "InfluxDB 3 has one name space for tags and fields"
    assert not {"time", "_field", "_measurement"} & set(names), "reserved"
    assert all(name.isidentifier() and name == name.lower() for name in names)
    assert {"trial_id", "run_id"}.isdisjoint(measurement.tag_names), "a series for each trial"
    assert len(names) < 200, "InfluxDB 3 allows a table few hundred columns"
    assert all(tag.meaning for tag in measurement.tags)
    assert all(field.meaning for field in measurement.fields)


def test_a_name_that_is_not_in_the_schema_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        tags_of(OUTBOX, {"colour": "red"})
    with pytest.raises(KeyError, match="colour"):
        line(OUTBOX, tags_of(OUTBOX, {}), {"colour": 1}, 0)


def test_every_kernel_of_a_real_report_is_in_the_schema() -> None:
    for file in REPORTS.glob("chromium_*.json"):
        for backend in json.loads(file.read_text())["backends"].values():
            for phase in (backend or {}).get("phases", [backend or {}]):
                for name, kernel in phase.get("kernels", {}).items():
                    assert kernel[KERNELS[name]] is not None


# ---- what goes in comes out ----


@settings(max_examples=100, deadline=None)
@given(ANY_RECORD)
def test_any_record_gives_lines_that_follow_the_schema_and_say_what_it_says(whole: Record) -> None:
    found = points(whole)
    assert len(found["trial"]) == len(found["health"]) == 1
    [point] = found["trial"]
    figures = Figures.of(whole)
    for name in ("profile", "kind", "host"):
        assert point.tag[name] == tag_value(getattr(whole.device, name))
    for name in ("model", "quantisation", "variant", "runtime", "source"):
        assert point.tag[name] == tag_value(getattr(whole.workload, name))
    for name in ("verdict", "cause", "predicted_verdict", "judgement"):
        assert point.tag[name] == tag_value(getattr(figures, name))
    assert point.tag["emulated"] == str(whole.device.emulated).lower()
    for metric in METRICS:
        for name in (metric, *(f"predicted_{metric}{end}" for end in ("", "_low", "_high"))):
            assert point.field.get(name) == getattr(figures, name)
    for name, text in (
        ("trial_id", whole.trial_id),
        ("run_id", whole.run_id),
        ("explanation", whole.explanation),
        ("cpu", whole.conditions.cpu),
        ("adapter", whole.conditions.adapter),
    ):
        assert point.field.get(name) == (None if text is None else string_value(text))
    [health] = found["health"]
    assert health.field.get("load_average") == figures.load_average
    assert health.tag == {name: point.tag[name] for name in HEALTH.tag_names}


@settings(max_examples=50, deadline=None)
@given(ANY_RECORD)
def test_a_stored_record_gives_the_same_bytes(whole: Record) -> None:
    stored = Record.model_validate_json(whole.model_dump_json())
    assert lines_of(stored, None) == lines_of(whole, None)


@settings(max_examples=200)
@given(HOSTILE | st.text(st.sampled_from("a\\ \ud800\udfff"), max_size=4))
def test_text_is_cleaned_once(text: str) -> None:
    tag, string = tag_value(text), string_value(text)
    assert 0 < len(tag) <= TAG_LENGTH
    assert len(string) <= STRING_LENGTH
    assert tag == tag.strip() == tag_value(tag)
    assert string_value(string) == string
    assert "\\" not in tag
    tag.encode()
    string.encode()


@settings(max_examples=100)
@given(HOSTILE.map(tag_value), HOSTILE.map(string_value), NUMBER, st.integers(-(2**63), 2**63 - 1))
def test_the_client_agrees_with_the_reader(tag: str, text: str, value: float, whole: int) -> None:
    point = ClientPoint("m").tag("t", tag).field("s", text).field("f", value).field("i", whole)  # type: ignore[no-untyped-call]
    found = parse(point.field("b", value=True).time(7).to_line_protocol())
    finite = [("f", value)] if math.isfinite(value) else []
    assert found == Point("m", [("t", tag)], [("b", True), *finite, ("i", whole), ("s", text)], 7)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (None, NOTHING),
        ("", NOTHING),
        (" \n ", NOTHING),
        ("a\\,b", "a/,b"),
        ("ends\\", "ends/"),
        ("two\nlines", "two lines"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
        ("x" * 200, "x" * TAG_LENGTH),
        (True, "true"),
        (False, "false"),
        (Verdict.OOM, "oom"),
    ],
)
def test_what_a_tag_becomes(said: object, written: str) -> None:
    assert tag_value(said) == written


@pytest.mark.parametrize("value", [True, "1", None, math.nan, math.inf, 10**400, [1]])
def test_a_value_of_another_type_is_left_out_instead_of_changing_the_type(value: object) -> None:
    values = {"waiting": 3, "oldest_seconds": value}
    assert parse(line(OUTBOX, tags_of(OUTBOX, {}), values, 0)).field == {"waiting": 3}


@pytest.mark.parametrize("value", [True, 1.0, "1", 2**63, -(2**63) - 1])
def test_so_is_one_that_is_no_64_bit_integer(value: object) -> None:
    values = {"waiting": value, "parked": 1}
    assert parse(line(OUTBOX, tags_of(OUTBOX, {}), values, 0)).field == {"parked": 1}


# ---- time ----


def test_the_time_is_that_of_the_trial_to_the_microsecond() -> None:
    began = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert time_of(record(started_at=began)) // 1000 == 1_748_779_200_123_456


def test_trials_of_one_microsecond_do_not_overwrite_each_other() -> None:
    times = {time_of(record(f"trial-{number}")) for number in range(30)}
    assert len(times) > 25
    assert len({time // 1000 for time in times}) == 1


def test_a_time_without_a_zone_is_utc() -> None:
    began = datetime(2025, 6, 1, 12, tzinfo=UTC)
    assert time_of(record(started_at=began.replace(tzinfo=None))) == time_of(
        record(started_at=began)
    )


@pytest.mark.parametrize("year", [1, 1600, 2500, 9999])
def test_a_clock_that_is_far_off_still_gives_a_time_that_influxdb_has(year: int) -> None:
    points(record(started_at=datetime(year, 1, 1, tzinfo=UTC)))


# ---- trial ----


def test_a_trial_compares_what_was_measured_with_what_was_predicted() -> None:
    point = trial(record())
    assert point.field["decode_tokens_per_s"] == 8.0
    assert point.field["predicted_decode_tokens_per_s"] == 6.0
    assert point.field["decode_tokens_per_s_ratio"] == pytest.approx(8 / 6)
    assert point.field["decode_tokens_per_s_within"] == 1.0
    assert point.field["peak_bytes"] == 4.5e9
    assert "load_seconds" not in point.field
    assert "load_seconds_within" not in point.field


def test_a_measurement_out_of_bounds_and_a_prediction_of_nothing() -> None:
    odd = Prediction(verdict="ok", reason="", decode_tokens_per_s=interval(0.0))
    point = trial(record(prediction=odd))
    assert point.field["decode_tokens_per_s_within"] == 0.0
    assert "decode_tokens_per_s_ratio" not in point.field
    assert "peak_bytes_within" not in point.field
    assert point.tag["predicted_tier"] == NOTHING


@pytest.mark.parametrize(
    ("verdict", "ok", "oom"),
    [
        (Verdict.OK, 1.0, 0.0),
        (Verdict.OOM, 0.0, 1.0),
        (Verdict.HANG, 0.0, 0.0),
        (Verdict.INFRA, None, None),
        (Verdict.CASCADE, None, None),
    ],
)
def test_the_labs_own_faults_count_for_and_against_no_device(
    verdict: Verdict, ok: float | None, oom: float | None
) -> None:
    found = points(record(verdict=verdict))
    [point], [health] = found["trial"], found["health"]
    assert (point.field.get("ok"), point.field.get("oom")) == (ok, oom)
    assert health.field["infra"] == float(verdict is Verdict.INFRA)


@pytest.mark.parametrize(
    ("judgement", "shares"),
    [
        (Judgement.RIGHT, (1.0, 0.0, 0.0)),
        (Judgement.OVER_PROMISE, (0.0, 1.0, 0.0)),
        (Judgement.UNDER_PROMISE, (0.0, 0.0, 1.0)),
        (Judgement.UNKNOWN, (None, None, None)),
    ],
)
def test_the_mean_of_a_share_is_the_accuracy(
    judgement: Judgement, shares: tuple[float | None, ...]
) -> None:
    field = trial(record(judgement=judgement)).field
    names = ("prediction_right", "over_promise", "under_promise")
    assert tuple(field.get(name) for name in names) == shares


def test_a_software_adapter_is_one_only_where_webgpu_was_used() -> None:
    for runtime, said in (("mediapipe/webgpu", "true"), ("wllama/wasm", "false")):
        whole = record()
        point = trial(
            whole.model_copy(
                update={
                    "workload": whole.workload.model_copy(update={"runtime": runtime}),
                    "conditions": whole.conditions.model_copy(update={"software_adapter": True}),
                }
            )
        )
        assert point.tag["software_adapter"] == said


def test_a_trial_that_measured_nothing_is_still_counted() -> None:
    point = trial(record(measurement=None, verdict=Verdict.INFRA, artifact=None))
    assert point.field["trial_id"] == "trial-1"
    assert point.tag["artifact_kind"] == NOTHING


# ---- probe ----


def test_a_real_report_gives_a_point_for_each_number_of_threads() -> None:
    found = points(record(probe=WASM_REPORT))["probe"]
    phases = WASM_REPORT["backends"]["wasm"]["phases"]
    assert [point.tag["threads"] for point in found] == [str(p["threads"]) for p in phases]
    for point, phase in zip(found, phases, strict=True):
        assert point.tag["backend"] == "wasm"
        assert point.field["duty"] == phase["duty"]
        for name, kernel in phase["kernels"].items():
            summary = kernel[KERNELS[name]]
            assert point.field[f"{name}_{KERNELS[name]}"] == summary["median"]
            assert point.field[f"{name}_{KERNELS[name]}_p10"] == summary["p10"]
            assert point.field[f"{name}_{KERNELS[name]}_p90"] == summary["p90"]


def test_a_gpu_in_software_is_marked_in_the_probe_too() -> None:
    probed = points(record(probe=WEBGPU_REPORT))["probe"]
    found = {point.tag["backend"]: point for point in probed}
    assert found["webgpu"].tag["software_adapter"] == "true"
    assert found["webgpu"].tag["threads"] == NOTHING
    assert "gemv_int4_bytes_per_s" in found["webgpu"].field
    assert isinstance(found["webgpu"].field["compile_ms"], float)


def test_a_backend_that_is_not_there_says_why() -> None:
    report = {"backends": {"webgpu": {"available": False, "reason": "no\nadapter"}}}
    [point] = points(record(probe=report))["probe"]
    assert point.field["available"] is False
    assert point.field["reason"] == "no adapter"


MUTILATED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["backends", "wasm", "webgpu", "phases", "kernels", "int4_head", "threads",
                 "bytes_per_s", "median", "adapter", "software", "compile_ms", "environment"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["backends", "environment", "problems"]), MUTILATED))
def test_a_report_that_is_none_does_no_harm(report: dict[str, Any]) -> None:
    points(record(probe=report))


@settings(max_examples=100, deadline=None)
@given(MUTILATED)
def test_nor_does_a_damaged_backend(backend: object) -> None:
    points(record(probe={"backends": {"wasm": backend, "webgpu": backend}}))


def test_phases_without_end_and_of_the_same_threads_are_few_points() -> None:
    phases = [{"threads": number % 3, "duty": number / 1000} for number in range(1000)]
    found = points(record(probe={"backends": {"wasm": {"phases": phases}}}))["probe"]
    assert [(p.tag["threads"], p.field["duty"]) for p in found] == [("1", 0.001), ("2", 0.002)]


# ---- memory ----


def curved(folder: Path, samples: list[Any]) -> Record:
    return record(files=with_curve(folder, samples))


def test_a_memory_curve_is_a_point_a_sample(tmp_path: Path) -> None:
    samples = [
        {"at_seconds": 0.2, "processes": {"renderer": 5, "gpu": 2, "odd": 1}, "group_bytes": 9},
        {"at_seconds": 0.4, "processes": {"browser": 3}, "group_bytes": None},
    ]
    whole = curved(tmp_path, samples)
    first, second = points(whole, tmp_path)["memory"]
    assert first.time == time_of(whole) + 200_000_000
    assert second.time == time_of(whole) + 400_000_000
    assert first.field == {
        "trial_id": "trial-1", "run_id": "run-1", "at_seconds": 0.2, "model_bytes": 7,
        "renderer_bytes": 5, "gpu_bytes": 2, "other_bytes": 1, "group_bytes": 9,
    }  # fmt: skip
    assert second.field["model_bytes"] == 0
    assert second.field["browser_bytes"] == 3
    assert first.tag == {name: trial(whole).tag[name] for name in MEMORY.tag_names}


def test_a_long_curve_is_thinned_and_its_peak_kept(tmp_path: Path) -> None:
    samples = [{"at_seconds": n / 5, "processes": {"renderer": n % 977}} for n in range(5000)]
    found = points(curved(tmp_path, samples), tmp_path)["memory"]
    assert len(found) <= 200
    assert max(int(point.field["renderer_bytes"]) for point in found) == 976
    assert len({point.time for point in found}) == len(found)


def test_without_a_curve_there_is_all_else(tmp_path: Path) -> None:
    whole = curved(tmp_path, [])
    assert lines_of(whole, tmp_path) == lines_of(whole, None)
    (tmp_path / "t" / FILE_NAME).unlink()
    assert lines_of(whole, tmp_path) == lines_of(whole, None)


def test_a_curve_at_the_end_of_time_fits_too(tmp_path: Path) -> None:
    whole = curved(tmp_path, [{"at_seconds": 1e7, "processes": {"renderer": 1}}])
    late = whole.model_copy(update={"started_at": datetime(9999, 12, 31, tzinfo=UTC)})
    assert points(late, tmp_path)["memory"]


# ---- health and outbox ----


def test_health_is_that_of_the_host() -> None:
    whole = record()
    conditions = whole.conditions.model_copy(
        update={"load_average": 3.0, "host_at_rest": False, "temperature_celsius": 41.5}
    )
    [point] = points(whole.model_copy(update={"conditions": conditions}))["health"]
    assert point.field["load_per_core"] == 1.5
    assert point.field["at_rest"] == 0.0
    assert point.field["temperature_celsius"] == 41.5
    assert point.tag["host"] == "host"


def test_the_outbox_has_a_line_of_its_own() -> None:
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
    point = parse(outbox_line(host="a b", at=at, waiting=3, parked=0, oldest_seconds=60))
    assert conforms(point) is OUTBOX
    assert point == Point(
        "outbox",
        [("host", "a b")],
        [("oldest_seconds", 60.0), ("parked", 0), ("waiting", 3)],
        1_735_689_601_000_000_000,
    )


# ---- nothing is promised in vain ----


def test_every_field_of_the_schema_is_written_where_it_is_known(tmp_path: Path) -> None:
    whole = complete(tmp_path)
    written: dict[str, set[str]] = {name: set() for name in KNOWN}
    for file in REPORTS.glob("chromium_*.json"):
        report = json.loads(file.read_text())
        if webgpu := report["backends"].get("webgpu"):
            # No sample has all of WebGPU's: they depend on the adapter.
            figure = {"n": 1, "median": 2.0, "p10": 1.0, "p90": 3.0}
            for name, unit in KERNELS.items():
                webgpu["kernels"].setdefault(name, {unit: figure, "slices": 1})
        report["backends"]["webgpu"] = report["backends"].get("webgpu") or {
            "available": False, "reason": "it is not there",
        }  # fmt: skip
        for name, found in points(whole.model_copy(update={"probe": report}), tmp_path).items():
            written[name].update(field for point in found for field in point.field)
    line_of_the_outbox = outbox_line(host="", at=whole.started_at, waiting=1, parked=1,
                                     oldest_seconds=1)  # fmt: skip
    written["outbox"].update(parse(line_of_the_outbox).field)
    for measurement in MEASUREMENTS:
        assert written[measurement.name] == set(measurement.field_types)


# ---- a real InfluxDB takes it ----


@pytest.fixture(scope="module")
def influxd() -> Iterator[Influxd]:
    with running_influx() as influx:
        yield influx.influxd


@pytest.mark.integration
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(whole=ANY_RECORD, word=HOSTILE)
def test_a_real_influxdb_reads_what_was_written(
    influxd: Influxd, tmp_path: Path, whole: Record, word: str
) -> None:
    files = with_curve(tmp_path, [{"at_seconds": 1, "processes": {"renderer": 5}}])
    sent = lines_of(whole.model_copy(update={"files": files}), tmp_path)
    sent.append(outbox_line(host=word, at=whole.started_at, waiting=1, parked=2))
    influxd.query(f'DROP DATABASE "{BUCKET}"; CREATE DATABASE "{BUCKET}"')
    status, _, body = ask(
        influxd.port, "POST", f"/write?db={BUCKET}&precision=n", "\n".join(sent).encode()
    )
    assert status == 204, body
    read = {kept(row) for row in influxd.points()}
    assert read == {
        kept({"measurement": p.measurement, "time": p.time, **p.tag, **p.field})
        for p in map(parse, sent)
    }


def kept(row: Mapping[str, object]) -> frozenset[tuple[str, object]]:
    """A point with the values it has. InfluxDB tells a float as its shortest digits, with no point
    where it is whole, so that one beyond 2^53 would be read as another integer."""
    types = KNOWN[str(row["measurement"])].field_types
    return frozenset(
        (name, float(str(value)) if types.get(name) is Type.FLOAT else value)
        for name, value in row.items()
        if value is not None
    )
