"""Attempts as the journal tells them, whoever told it in whatever order."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING

from results.fleet.attempts import INCOMPLETE, attempts, attempts_of, began, ended, unfinished
from results.fleet.events import Event, EventKind, add_events, events
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue


def test_an_attempt_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        begin = began("run-1", "a", number=2, devices=["phone-1"], request_ids=["r"], host="lab-1")
        add_events(store, begin)
        (open_,) = attempts(store, "run-1")
        assert (open_.outcome, open_.complete, open_.ended_at) == (INCOMPLETE, False, None)
        assert unfinished(store) == {"a"}
        end = ended("run-1", "a", exit_code=1, host="lab-1")
        assert add_events(store, end, begin) == 1
        (over,) = attempts(store, "run-1")
        assert over.complete
        assert (over.number, over.host, over.exit_code) == (2, "lab-1", 1)
        assert (over.devices, over.request_ids) == (("phone-1",), ("r",))
        assert over.began_at == begin.at <= end.at == over.ended_at
        assert unfinished(store) == frozenset()
        assert attempts(store, "another") == []


def test_its_own_word_is_more_than_that_of_somebody_who_took_it_for_dead() -> None:
    begin = began("run-1", "a", host="lab-1")
    lost = ended("run-1", "a", outcome=INCOMPLETE, text="worker lost", host="controller")
    own = ended("run-1", "a", exit_code=0, host="lab-1")
    for later, earlier in ((lost, own), (own, lost)):
        one = later.model_copy(update={"at": begin.at + timedelta(seconds=9)})
        other = earlier.model_copy(update={"at": begin.at + timedelta(seconds=5)})
        (found,) = attempts_of(sorted([one, other, begin], key=lambda event: event.at))
        assert (found.outcome, found.exit_code) == ("complete", 0)
    (found,) = attempts_of([begin, lost])
    assert (found.outcome, found.ended_at) == (INCOMPLETE, lost.at)


def test_they_come_in_the_order_in_which_they_began(tmp_path: Path) -> None:
    told = [event for name in "abc" for event in (began("r", name), ended("r", name))]
    for number, order in enumerate(permutations(told[:4])):
        with Store.open(tmp_path / str(number)) as store:
            add_events(store, *order)
            assert [one.attempt_id for one in attempts(store, "r")] == ["a", "b"]
        if number == 5:
            break


def test_a_line_of_somebody_elses_making_is_no_attempt(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        wrong: list[dict[str, JsonValue]] = [
            {}, {"phase": "began"}, {"phase": "began", "attempt_id": 3}, {"phase": []},
        ]  # fmt: skip
        for detail in wrong:
            event = Event.now(EventKind.ATTEMPT, "?", run_id="r")
            add_events(store, event.model_copy(update={"detail": detail}))
        add_events(store, ended("r", "never-begun"))
        assert attempts(store, "r") == []
        assert len(events(store, run_id="r")) == 5


def test_events_are_chosen(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        first = Event.now(EventKind.HEALTH, "quarantined", resource="phone-1", profile="pixel7")
        second = Event.now(EventKind.LEASE, "lost\x1b[31m\nits lease", run_id="r")
        add_events(store, first, second)
        assert events(store) == [first, second]
        assert second.text == "lost\N{REPLACEMENT CHARACTER}[31m its lease"
        assert events(store, resource="phone-1") == [first]
        assert events(store, run_id="r", kinds=[EventKind.LEASE, EventKind.RUN]) == [second]
        assert events(store, kinds=[EventKind.RUN]) == []
        assert events(store, since=second.at) == [second]
        assert events(store, since=second.at + timedelta(seconds=1)) == []
