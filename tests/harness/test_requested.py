"""What is tried again and what is not, the lineage of records, and the health of the device."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from harness.devices.base import DeviceLostError, Gate
from harness.devices.device_state import Condition, Note, change, load
from harness.leasing import NoDeviceError
from results.fleet.attempts import began
from results.fleet.events import EventKind, add_events, events
from results.fleet.requests import Request, progress
from results.record import Verdict, WorkloadRecord
from results.store import Store
from tests.harness.fakes import FakeDevice
from tests.harness.test_laboratory import DESKTOP, WORKLOAD, Bench, bench
from tests.results.records import record

if TYPE_CHECKING:
    from harness.devices.device_state import DeviceState
    from results.record import Lineage, Record

__all__ = ["bench"]


def stored(bench: Bench) -> list[Record]:
    """All records by the order in which they were tried."""
    with Store.open(bench.folder / "results") as store:
        return sorted(store.records(), key=lambda r: lineage(r).number)


def lineage(found: Record) -> Lineage:
    assert found.lineage is not None
    return found.lineage


def journal(bench: Bench) -> list[str]:
    with Store.open(bench.folder / "results") as store:
        return [event.text for event in events(store, kinds=[EventKind.HEALTH])]


def quarantine(state: DeviceState) -> DeviceState:
    until = datetime.now(UTC) + timedelta(hours=1)
    update = {"condition": Condition.QUARANTINED, "until": until, "reason": "hot", "strikes": 3}
    return state.model_copy(update=update)


# ---- lineage ----


def test_each_try_says_which_it_is_and_what_came_before(bench: Bench) -> None:
    bench.outcomes = [
        record("a", verdict=Verdict.INFRA),
        DeviceLostError("gone"),
        record("b", verdict=Verdict.INFRA),
        record("c"),
    ]
    with bench.open(infra_retries=3) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "c"
    tries = [lineage(found) for found in stored(bench)]
    assert [(t.number, t.retry_of, t.retry_cause) for t in tries] == [
        (1, None, None),
        (3, "a", "infra"),  # the second was lost before there was a record
        (4, "b", "infra"),
    ]
    assert len({t.request_id for t in tries}) == 1
    assert len({t.attempt_id for t in tries}) == 1
    assert {t.resource for t in tries} == {"machine"}
    tokens = [t.lease_token or 0 for t in tries]
    assert 0 < tokens[0] < tokens[1] < tokens[2]


def test_a_fulfilled_request_is_not_run_again_by_the_next_attempt(bench: Bench) -> None:
    bench.outcomes = [record("one"), record("never")]
    with bench.open() as lab:
        first = lab.trial(DESKTOP, WORKLOAD)
    opened = len(bench.opened)
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD) == first
        assert lab.trials_of(DESKTOP, WORKLOAD) == [first]
    assert len(bench.opened) == opened
    assert bench.said[-1].endswith("is in the store already")


def test_a_request_with_faults_of_the_lab_only_is_run_by_the_next_attempt(bench: Bench) -> None:
    bench.outcomes = [record("bad", verdict=Verdict.INFRA), record("good")]
    with bench.open(infra_retries=0) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "bad"
    with bench.open(infra_retries=0) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "good"
    bad, good = stored(bench)
    assert lineage(bad).request_id == lineage(good).request_id
    assert lineage(bad).attempt_id != lineage(good).attempt_id
    assert (lineage(good).number, lineage(good).retry_of) == (1, "bad")
    assert lineage(good).retry_cause == "infra"
    with Store.open(bench.folder / "results") as store:
        found = progress(store, "run-1")
    assert (found.requested, found.recorded, found.open) == (1, 1, [])


def test_what_a_killed_attempt_left_undone_is_told_from_a_first_try(bench: Bench) -> None:
    with bench.open() as lab:
        asked = Request.of("run-1", DESKTOP.id, WorkloadRecord(**asdict(WORKLOAD)))
        with Store.open(bench.folder / "results") as store:
            add_events(store, began("run-1", "killed", request_ids=[asked.request_id]))
        bench.outcomes = [record("one")]
        first = lab.trial(DESKTOP, WORKLOAD)
    assert lineage(first).request_id == asked.request_id
    assert (lineage(first).retry_of, lineage(first).retry_cause) == (None, "incomplete")


# ---- budgets ----


@pytest.mark.parametrize("verdict", [Verdict.CRASH, Verdict.HANG])
def test_a_failure_is_run_again_as_a_request_of_its_own_and_all_count(
    bench: Bench, verdict: Verdict
) -> None:
    bench.outcomes = [record("a", verdict=verdict), record("b", verdict=verdict), record("c")]
    with bench.open(failure_retries=2) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "c"
    tries = [lineage(found) for found in stored(bench)]
    assert [(t.number, t.retry_of, t.retry_cause) for t in tries] == [
        (1, None, None),
        (2, "a", "failure"),
        (3, "b", "failure"),
    ]
    with Store.open(bench.folder / "results") as store:
        found = progress(store, "run-1")
    assert (found.requested, found.recorded, found.superseded) == (3, 3, 0)


def test_the_budgets_are_apart(bench: Bench) -> None:
    bench.outcomes = [
        record("a", verdict=Verdict.CRASH),
        record("b", verdict=Verdict.INFRA),
        record("c", verdict=Verdict.CRASH),
        record("never"),
    ]
    with bench.open(infra_retries=1, failure_retries=1) as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "c"
    causes = [lineage(found).retry_cause for found in stored(bench)]
    assert causes == [None, "failure", "infra"]


# ---- health ----


def test_after_a_fault_a_check_must_pass_and_both_are_in_the_journal(bench: Bench) -> None:
    bench.outcomes = [record("bad", verdict=Verdict.INFRA), record("good")]
    with bench.open() as lab:
        lab.trial(DESKTOP, WORKLOAD)
    state = load("machine")
    assert (state.condition, state.strikes) == (Condition.READY, 0)
    ill, well = journal(bench)
    assert ill.startswith("machine is unhealthy: ")
    assert well == "machine is ready: it answers, its gates are open, its browser opens a page"
    assert ill in bench.said


def test_a_later_run_checks_what_an_earlier_one_left_unhealthy(bench: Bench) -> None:
    bench.outcomes = [record("bad", verdict=Verdict.INFRA)]
    with bench.open(infra_retries=0) as lab:
        lab.trial(DESKTOP, WORKLOAD)
    assert load("machine").condition is Condition.UNHEALTHY
    with bench.open() as lab:
        lab.facts(DESKTOP)
    assert load("machine").condition is Condition.READY


def test_a_check_that_fails_is_a_quarantine_and_the_record_stands(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hot(_: FakeDevice) -> list[Gate]:
        return [Gate("battery temperature", passed=False, observed="41 °C", limit="at most 38 °C")]

    monkeypatch.setattr(FakeDevice, "gates", hot)
    bench.outcomes = [record("bad", verdict=Verdict.INFRA), record("never")]
    with bench.open() as lab:
        assert lab.trial(DESKTOP, WORKLOAD).trial_id == "bad"
        with pytest.raises(NoDeviceError) as raised:
            lab.facts(DESKTOP)
    assert "machine: quarantined until " in str(raised.value)
    assert "battery temperature is 41 °C" in str(raised.value)
    assert load("machine").condition is Condition.QUARANTINED


def test_a_quarantine_that_is_over_ends_with_a_check(bench: Bench) -> None:
    change("machine", quarantine)
    with bench.open() as lab, pytest.raises(NoDeviceError):
        lab.facts(DESKTOP)
    over = {"until": datetime.now(UTC)}
    change("machine", lambda state: state.model_copy(update=over))
    with bench.open() as lab:
        assert lab.facts(DESKTOP).cpu == "a processor"
    assert load("machine").condition is Condition.READY


@pytest.mark.parametrize("field", ["drained", "maintenance"])
def test_what_people_took_out_gets_no_work(bench: Bench, field: str) -> None:
    note = Note(text="new hub", by="ada", at=datetime.now(UTC))
    change("machine", lambda state: state.model_copy(update={field: note}))
    with bench.open() as lab, pytest.raises(NoDeviceError, match="ada: new hub"):
        lab.facts(DESKTOP)
    assert bench.opened == []
