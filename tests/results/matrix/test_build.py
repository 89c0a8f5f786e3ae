"""From trials to cells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from results.matrix.build import build_matrix
from results.matrix.groups import MOST_TRIALS
from results.matrix.model import Matrix
from results.record import (
    ArtifactRecord,
    Interval,
    Judgement,
    Prediction,
    Tiers,
    Verdict,
)
from results.tiers import Tier
from tests.results.matrix.stores import (
    NOW,
    all_entries,
    matrix_of,
    only_cell,
    store_of,
    trial,
    with_conditions,
    with_device,
    with_speeds,
    with_workload,
)
from tests.results.records import interval, record

if TYPE_CHECKING:
    from results.record import Record

NOTHING_RUNS = Tiers(prefill=Tier.UNSUPPORTED, decode=Tier.UNSUPPORTED, pair=Tier.UNSUPPORTED)


def test_no_trials_make_an_empty_matrix() -> None:
    matrix = matrix_of()
    assert all_entries(matrix) == []
    assert [*matrix.devices, *matrix.models, *matrix.runtimes] == []
    assert matrix.meta.trials == 0


def test_one_trial_is_one_cell() -> None:
    matrix = matrix_of(trial(1))
    device = "desktop-a-processor-2-cores-8-gib"
    assert list(matrix.devices) == [device]
    (cell,) = matrix.support["gemma-2b"]["int4"]["onnxruntime-web/wasm"][device]
    assert (cell.verdict, cell.verdicts, cell.n) == (Verdict.OK, {Verdict.OK: 1}, 1)
    assert (cell.cause, cell.judgements) == ("tokens", {"right": 1})
    assert cell.measured["decode_tokens_per_s"].median == 8.0
    assert cell.predicted.metrics["decode_tokens_per_s"] == interval(6.0)
    assert cell.evidence == "evidence/trial-001.json"
    assert matrix.models["gemma-2b"].quantisations == ("int4",)
    runtime = matrix.runtimes["onnxruntime-web/wasm"]
    assert (runtime.engine, runtime.backend) == ("onnxruntime-web", "wasm")
    assert matrix.meta.generated_at == NOW
    assert set(matrix.meta.metrics) >= set(cell.measured)


# ---- which trials make a cell ----


@pytest.mark.parametrize(
    "other",
    [
        with_conditions(trial(1), browser_version="139.0"),
        with_conditions(trial(1), browser="firefox"),
        with_conditions(trial(1), runtime_version="1.1"),
        with_workload(trial(1), prompt_tokens=64),
        with_workload(trial(1), output_tokens=64),
        trial(1, artifact=None),
        trial(1, artifact=ArtifactRecord(key="b", kind="real", format="onnx", total_bytes=1)),
    ],
)
def test_only_trials_like_the_newest_count(other: Record) -> None:
    assert only_cell(matrix_of(other, trial(2), trial(3))).n == 2
    # The other is the newest: it alone counts.
    newest = other.model_copy(update={"started_at": trial(9).started_at})
    assert only_cell(matrix_of(newest, trial(2), trial(3))).n == 1


def test_at_most_so_many_of_the_newest_count() -> None:
    trials = [with_speeds(trial(number), decode=number + 1) for number in range(MOST_TRIALS + 5)]
    cell = only_cell(matrix_of(*trials))
    assert cell.n == MOST_TRIALS
    assert cell.measured["decode_tokens_per_s"].low == pytest.approx(6.0)
    assert (cell.first_trial_at, cell.last_trial_at) == (
        trials[5].started_at,
        trials[-1].started_at,
    )


def test_the_labs_own_faults_make_no_cell() -> None:
    faults = [
        trial(1, verdict=Verdict.INFRA, cause="lab"),
        trial(2, verdict=Verdict.CASCADE, cause="earlier-failure"),
    ]
    matrix = matrix_of(*faults)
    assert all_entries(matrix) == []
    assert matrix.devices == {}
    assert (matrix.meta.trials, matrix.meta.infra_trials) == (0, 1)


def test_the_labs_own_faults_do_not_change_a_cell() -> None:
    newest = with_conditions(trial(5, verdict=Verdict.INFRA), browser_version="141.0")
    matrix = matrix_of(trial(1), newest)
    assert only_cell(matrix).versions.browser_version == "140.0"
    assert (matrix.meta.trials, matrix.meta.infra_trials) == (1, 1)


# ---- what a cell says ----


def test_the_verdict_is_that_of_most_and_the_figures_are_of_those() -> None:
    trials = [
        with_speeds(trial(1), decode=4.0, prefill=50.0),
        with_speeds(trial(2), decode=6.0, prefill=70.0),
        with_speeds(trial(3), decode=5.0, prefill=60.0),
        trial(4, verdict=Verdict.OOM, cause="kernel-oom", tiers=NOTHING_RUNS),
    ]
    cell = only_cell(matrix_of(*trials))
    assert cell.verdict is Verdict.OK
    assert cell.verdicts == {Verdict.OK: 3, Verdict.OOM: 1}
    assert cell.cause == "tokens"
    decode = cell.measured["decode_tokens_per_s"]
    assert decode.model_dump() == pytest.approx({"n": 3, "median": 5.0, "low": 4.0, "high": 6.0})
    assert cell.n == 4


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Verdict.OK, Verdict.OOM, Verdict.OOM),
        (Verdict.OK, Verdict.UNSUPPORTED, Verdict.UNSUPPORTED),
        (Verdict.CRASH, Verdict.OOM, Verdict.OOM),
        (Verdict.HANG, Verdict.CRASH, Verdict.CRASH),
    ],
)
def test_of_as_many_verdicts_the_worse(one: Verdict, other: Verdict, expected: Verdict) -> None:
    for first, second in ((one, other), (other, one)):
        cell = only_cell(matrix_of(trial(1, verdict=first), trial(2, verdict=second)))
        assert cell.verdict is expected


def test_the_tier_follows_from_the_medians() -> None:
    """The speeds fall on both sides of a threshold, and the newest trial's on the wrong one."""
    trials = [
        with_speeds(trial(number), decode=speed, prefill=1000.0)
        for number, speed in enumerate((11.0, 12.0, 9.0))
    ]
    assert trials[-1].tiers.pair is Tier.LOW
    assert only_cell(matrix_of(*trials)).tier is Tier.MEDIUM


def test_without_speeds_the_tier_is_the_newest_trials_own() -> None:
    assert only_cell(matrix_of(trial(1, measurement=None))).tier is Tier.LOW


def test_a_tier_is_not_made_of_speeds_before_a_failure() -> None:
    fast = with_speeds(trial(1, verdict=Verdict.OOM, tiers=NOTHING_RUNS), decode=99.0, prefill=9e3)
    assert only_cell(matrix_of(fast)).tier is Tier.UNSUPPORTED


def test_the_prediction_is_that_of_the_newest() -> None:
    newest = Prediction(
        verdict="oom",
        reason="",
        peak_memory_bytes=Interval(low=1.0, expected=2.0, high=float("inf")),
        decode_tokens_per_s=interval(3.0),
    )
    trials = [trial(1), trial(2, prediction=newest, judgement=Judgement.UNDER_PROMISE)]
    cell = only_cell(matrix_of(*trials))
    assert (cell.predicted.verdict, cell.predicted.tier) == ("oom", None)
    assert cell.predicted.metrics == {"decode_tokens_per_s": interval(3.0)}, "no infinity"
    assert cell.judgements == {"right": 1, "under-promise": 1}


def test_conditions_are_those_of_all_its_trials() -> None:
    base = trial(1)
    assert base.measurement is not None
    throttled = base.measurement.model_copy(update={"throttled_seconds": 2.0})
    trials = [
        with_conditions(trial(1), host_at_rest=True, temperature_celsius=41.0),
        with_conditions(trial(2), host_at_rest=False, temperature_celsius=45.0),
        with_conditions(trial(3, measurement=throttled), host_at_rest=None),
    ]
    conditions = only_cell(matrix_of(*trials)).conditions
    assert (conditions.at_rest, conditions.throttled) == (1, 1)
    assert conditions.temperature_celsius == 45.0


def test_speeds_below_zero_are_no_speeds() -> None:
    cell = only_cell(matrix_of(with_speeds(trial(1), decode=8.0, prefill=-1.0)))
    assert "prefill_tokens_per_s" not in cell.measured
    assert cell.tier is Tier.LOW


# ---- whose figures they are ----


def test_limited_devices_and_software_adapters_have_trees_of_their_own() -> None:
    webgpu = with_workload(trial(1), runtime="mediapipe/webgpu")
    software = with_conditions(webgpu, software_adapter=True)
    limited = with_device(trial(2), profile="desktop-2g", emulated=True, memory_limit_bytes=2 << 30)
    both = with_device(software, profile="desktop-2g", emulated=True)
    matrix = matrix_of(
        trial(0),
        software.model_copy(update={"trial_id": "b"}),
        limited.model_copy(update={"trial_id": "c"}),
        both.model_copy(update={"trial_id": "d"}),
    )
    found = {(entry.section, entry.device_id, entry.marks) for entry in all_entries(matrix)}
    small, desktop = sorted(matrix.devices)
    assert found == {
        ("support", desktop, ""),
        ("limited", small, "limited"),
        ("software_adapter", desktop, "software adapter"),
        ("software_adapter", small, "limited, software adapter"),
    }
    assert small.startswith("desktop-2g-")
    assert matrix.devices[small].limited
    assert matrix.devices[small].memory_limit_bytes == 2 << 30, "as the newest trial says"


def test_a_software_adapter_means_nothing_to_an_engine_without_webgpu() -> None:
    matrix = matrix_of(with_conditions(trial(1), software_adapter=True))
    assert [entry.section for entry in all_entries(matrix)] == ["support"]


def test_desktops_are_told_apart_by_their_hardware() -> None:
    other = with_conditions(trial(2), cpu="another", cores=1, memory_bytes=16 << 30)
    matrix = matrix_of(trial(1), other)
    assert list(matrix.devices) == [
        "desktop-a-processor-2-cores-8-gib",
        "desktop-another-1-core-16-gib",
    ]


def test_a_phone_is_known_by_its_profile() -> None:
    phones = [
        with_device(trial(1), profile="pixel7", kind="android", name="Pixel 7"),
        with_conditions(
            with_device(trial(2), profile="pixel7", kind="android", name="Pixel 7 (new name)"),
            cpu="another reading",
        ),
    ]
    matrix = matrix_of(*phones)
    assert list(matrix.devices) == ["pixel7"]
    assert matrix.devices["pixel7"].name == "Pixel 7 (new name)"
    assert only_cell(matrix).n == 2


def test_one_profile_with_and_without_limits() -> None:
    limited = with_device(trial(2), emulated=True, cpu_limit=float("inf"))
    matrix = matrix_of(trial(1), limited)
    ids = {entry.device_id: entry.section for entry in all_entries(matrix)}
    plain = "desktop-a-processor-2-cores-8-gib"
    assert ids == {plain: "support", f"{plain}-limited": "limited"}
    assert matrix.devices[f"{plain}-limited"].cpu_limit is None


def test_the_plain_artifact_from_the_network_comes_first() -> None:
    trials = [
        with_workload(trial(1), source="cache"),
        with_workload(trial(2), variant="pruned-50"),
        trial(3),
    ]
    places = [
        (entry.cell.conditions.variant, entry.cell.conditions.source)
        for entry in all_entries(matrix_of(*trials))
    ]
    assert places == [("", "network"), ("", "cache"), ("pruned-50", "network")]


def test_versions_of_a_runtime_come_newest_first() -> None:
    trials = [
        with_conditions(with_workload(trial(1), model="a"), runtime_version="1.10"),
        with_conditions(with_workload(trial(2), model="b"), runtime_version="1.9"),
    ]
    assert matrix_of(*trials).runtimes["onnxruntime-web/wasm"].versions == ("1.9", "1.10")


def test_a_damaged_record_costs_a_device_its_name_only() -> None:
    with store_of([trial(1)]) as store:
        with store.transaction() as connection:
            connection.execute("UPDATE records SET body = '{}'")
        matrix = build_matrix(store, NOW)
    (device,) = matrix.devices.values()
    assert (device.name, device.kind) == ("desktop", "unknown")
    assert only_cell(matrix).n == 1


# ---- time ----


def test_figures_expire() -> None:
    cell = only_cell(matrix_of(trial(0), expiry_days=31))
    assert cell.expires_at == datetime(2025, 6, 1, tzinfo=UTC)
    assert cell.expired(NOW)
    assert not cell.expired(NOW - timedelta(days=1))


def test_a_clock_that_ran_ahead_does_not_make_figures_last_longer() -> None:
    late = trial(1, started_at=datetime(9999, 12, 31, tzinfo=UTC))
    assert only_cell(matrix_of(late)).expires_at == NOW + timedelta(days=90)


def test_a_time_without_a_zone_is_utc() -> None:
    naive = record("a", started_at=datetime(2025, 5, 1))  # noqa: DTZ001 - that is the point
    assert only_cell(matrix_of(naive)).last_trial_at == datetime(2025, 5, 1, tzinfo=UTC)


# ---- the model itself ----


@pytest.mark.parametrize("verdict", [Verdict.INFRA, Verdict.CASCADE])
def test_no_cell_can_be_made_of_the_labs_own_faults(verdict: Verdict) -> None:
    values = matrix_of(trial(1)).model_dump(mode="json", by_alias=True)
    ((cell,),) = values["support"]["gemma-2b"]["int4"]["onnxruntime-web/wasm"].values()
    cell["verdict"] = str(verdict)
    with pytest.raises(ValueError, match="says nothing of a device"):
        Matrix.model_validate(values)
