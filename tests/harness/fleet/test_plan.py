"""What a schedule asks for, and in which order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from harness.fleet.config import Schedule
from harness.fleet.plan import longest_first, requests_of, workloads_of
from harness.models import QUANTISATIONS
from harness.runtimes import BEST, RUNTIMES
from results.store import Store
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path


def test_a_request_a_profile_and_workload() -> None:
    schedule = Schedule(models=("gemma-3-270m", "gemma-2b"), quants=("int4", "int8"))
    asked = requests_of(schedule, ["pixel7", "galaxy-s24"], "run-1")
    assert len(asked) == len({request.request_id for request in asked})
    assert {request.profile for request in asked} == {"pixel7", "galaxy-s24"}
    assert {request.workload.runtime for request in asked} == set(BEST)
    assert asked == [r for r in asked if r.run_id == "run-1"]


def test_the_names_of_quantisations_are_those_that_pytest_makes_the_same_of() -> None:
    schedule = Schedule(models=("gemma-3-270m",), runtimes=("all",), quants=("int8",))
    for workload in [*workloads_of(schedule), *workloads_of(Schedule(models=("gemma-3-270m",)))]:
        assert workload.quantisation in QUANTISATIONS
        again = schedule.model_copy(
            update={"runtimes": (workload.runtime,), "quants": (workload.quantisation,)}
        )
        assert workloads_of(again) == [workload]


def test_groups_and_names_of_runtimes_are_taken_once() -> None:
    schedule = Schedule(models=("gemma-3-270m",), runtimes=("best", BEST[0], "all"))
    found = [workload.runtime for workload in workloads_of(schedule)]
    assert len(found) == len(set(found))
    assert set(found) == set(RUNTIMES)


def test_what_took_longest_comes_first_and_the_unknown_before_it(tmp_path: Path) -> None:
    schedule = Schedule(
        models=("gemma-3-270m", "gemma-2b", "gemma-2-2b-it"), runtimes=("wllama/wasm",)
    )
    short, long, unknown = requests_of(schedule, ["pixel7"], "run-1")
    began = datetime(2026, 5, 1, tzinfo=UTC)
    with Store.open(tmp_path) as store:
        store.start_run("run-0", "test")
        for number, (request, seconds) in enumerate([(short, 10.0), (long, 90.0), (long, 110.0)]):
            made = record(f"trial-{number}", "run-0", started_at=began + timedelta(minutes=number))
            assert made.measurement is not None
            store.add(
                made.model_copy(
                    update={
                        "device": made.device.model_copy(update={"profile": "pixel7"}),
                        "workload": request.workload,
                        "measurement": made.measurement.model_copy(
                            update={"wall_seconds": seconds}
                        ),
                    }
                )
            )
        ordered = longest_first(store, [short, unknown, long])
    assert [r.workload.model for r in ordered] == [r.workload.model for r in (unknown, long, short)]
