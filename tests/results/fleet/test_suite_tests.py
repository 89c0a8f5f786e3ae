"""Tests of the suites: asked for first, ended once, and how long they take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from results.errors import StoreError
from results.fleet.suite_tests import (
    durations,
    finish_test,
    general_name,
    not_reached,
    request_tests,
    requested_tests,
)
from results.store import Store
from tests.results.fleet.fleets import RUN, suite_test

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from results.fleet.suite_tests import TestOutcome


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def test_a_test_ends_once(store: Store) -> None:
    suite_test(store, "a", "t")
    (asked,) = requested_tests(store, RUN)
    assert (asked.outcome, asked.ended_at) == (None, None)
    for outcome, reason in (("failed", "no\x1b[31m\nphone"), ("passed", "")):
        word: TestOutcome = "failed" if outcome == "failed" else "passed"
        finish_test(store, "a", "t", outcome=word, seconds=3.0, reason=reason, lab_fault=True)
    (test,) = requested_tests(store, RUN)
    assert (test.outcome, test.seconds, test.lab_fault) == ("failed", 3.0, True)
    assert test.reason == "no\N{REPLACEMENT CHARACTER}[31m phone"
    # Asked for once more it stays as it ended.
    assert request_tests(store, [asked]) == 0
    assert requested_tests(store, RUN) == [test]


def test_what_was_never_asked_for_cannot_end(store: Store) -> None:
    with pytest.raises(StoreError, match="t was not asked for in attempt a"):
        finish_test(store, "a", "t", outcome="passed", seconds=1.0)


def test_what_was_not_reached(store: Store) -> None:
    suite_test(store, "a", "open")
    suite_test(store, "a", "deadline", outcome="not-reached")
    suite_test(store, "a", "later")
    suite_test(store, "a", "done", outcome="skipped")
    suite_test(store, "b", "later", outcome="failed")
    suite_test(store, "b", "open")
    suite_test(store, "b", "done", profile="pixel7")
    assert [(one.profile, one.node_id) for one in not_reached(store, RUN)] == [
        ("desktop", "open"), ("desktop", "deadline"), ("pixel7", "done"),
    ]  # fmt: skip
    assert not_reached(store, "another") == []


def test_durations_are_of_the_newest_that_passed_or_failed(store: Store) -> None:
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    outcomes: list[tuple[TestOutcome, float, bool]] = [
        ("passed", 900.0, False), ("passed", 1.0, False), ("failed", 3.0, False),
        ("passed", 2.0, False), ("skipped", 50.0, False), ("error", 60.0, False),
        ("failed", 70.0, True),
    ]  # fmt: skip
    for number, (outcome, seconds, fault) in enumerate(outcomes):
        attempt = f"a{number}"
        suite_test(store, attempt, "suites/x.py::t[d]", at=begin + timedelta(days=number))
        finish_test(
            store, attempt, "suites/x.py::t[d]", outcome=outcome, seconds=seconds, lab_fault=fault
        )
    assert durations(store, newest=3) == {("desktop", "x.py::t[d]"): 2.0}
    assert durations(store, newest=4) == {("desktop", "x.py::t[d]"): 2.5}


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("suites/test_oom.py::test_x[pixel7-gemma-2b]", "test_oom.py::test_x[pixel7-gemma-2b]"),
        ("../lab/suites/test_oom.py::test_x[a/b]", "test_oom.py::test_x[a/b]"),
        ("suites/test_oom.py::test_x[pixel7]@pixel7", "test_oom.py::test_x[pixel7]"),
        ("suites/test_oom.py::test_x[a@b]", "test_oom.py::test_x[a@b]"),
        ("", ""),
    ],
)
def test_a_name_is_the_same_in_every_run(node_id: str, name: str) -> None:
    assert general_name(node_id) == name
