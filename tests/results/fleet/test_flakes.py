"""Flake rates: what is a try, what is flaky, and of how many a rate is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from results.fleet.attempts import began, ended
from results.fleet.events import add_events
from results.fleet.flakes import Tries, flake_rates
from results.record import Verdict
from results.store import Store
from tests.results.fleet.fleets import RUN, asked, suite_test, tried
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from results.fleet.suite_tests import TestOutcome


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        opened.start_run(RUN, "")
        yield opened


BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def test_tries_of_devices(store: Store) -> None:
    one, two, three = asked(3)
    trials = [
        tried("1", one, Verdict.INFRA),
        tried("2", one),
        tried("3", one, Verdict.CRASH),  # set aside; it ended otherwise all the same
        tried("4", two, Verdict.CRASH),
        tried("5", three, retry_of="4"),
        tried("6", three, resource=""),  # what was leased is not known
        record("7", RUN),  # of before there were requests
    ]
    for number, trial in enumerate(trials):
        at = BEGIN + timedelta(minutes=number)
        store.add(trial.model_copy(update={"started_at": at}))
    found = flake_rates(store).devices
    assert found == {
        "phone-1": Tries(tries=5, lab_faults=1, changed=2),
        "desktop": Tries(tries=2),
    }
    assert found["phone-1"].rate == pytest.approx(0.6)
    assert found["desktop"].rate is None  # of 2 there is none


def test_incomplete_attempts_are_no_tries_and_told_apart(store: Store) -> None:
    for name in ("lost", "over"):
        add_events(store, began(RUN, name, devices=["phone-2"]))
        suite_test(store, name, "left open")
        suite_test(store, name, "passed", outcome="passed")
    add_events(store, ended(RUN, "over"))
    rates = flake_rates(store)
    assert rates.devices == {"phone-2": Tries(incomplete=1)}
    assert rates.suites == {"full_load": Tries(tries=2, incomplete=1)}


def test_tries_of_suites(store: Store) -> None:
    outcomes: list[TestOutcome] = ["passed", "failed", "error", "passed"]
    for number, outcome in enumerate(outcomes):
        at = BEGIN + timedelta(days=number)
        suite_test(store, f"a{number}", "t", at=at, outcome=outcome)
    suite_test(store, "a9", "t", at=BEGIN, outcome="failed", lab_fault=True)
    suite_test(store, "a9", "skipped", outcome="skipped")
    suite_test(store, "a9", "other", outcome="not-reached")
    suite_test(store, "a9", "on another device", outcome="failed", profile="pixel7")
    # From passed to failed, and back; an error is no other outcome than a failure.
    (found,) = flake_rates(store).suites.values()
    assert found == Tries(tries=6, lab_faults=1, changed=2)
    assert found.rate == pytest.approx(0.5)


def test_only_of_runs_that_began_since(store: Store) -> None:
    store.add(tried("1", asked(1)[0]))
    suite_test(store, "a", "t", outcome="passed")
    later = flake_rates(store, since=datetime.now(UTC) + timedelta(hours=1))
    assert (later.devices, later.suites) == ({}, {})
    assert flake_rates(store, since=datetime.now(UTC) - timedelta(hours=1)).devices
