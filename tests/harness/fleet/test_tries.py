"""Tries of a job: budgets by cause, out of events in the order in which they happened."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.fleet.config import Retries
from harness.fleet.tries import Outcome, TriesBook, Try, lost
from results.fleet.events import Event, EventKind
from tests.harness.fleet.asked import request

JOB = "job-1"


def one(name: str, worker: str = "pixel7-a") -> Try:
    return Try(request(), JOB, name, worker, "controller")


def test_a_job_that_nothing_is_known_of_has_all_its_tries() -> None:
    tries = TriesBook().of(JOB)
    assert tries.number == 1
    assert tries.exhausted(Retries(infra=0, incomplete=0)) is None


def test_a_try_without_an_end_counts_against_its_own_budget() -> None:
    book = TriesBook([one("1").began(1)])
    tries = book.of(JOB)
    assert (tries.incomplete, tries.infra, tries.number) == (1, 0, 2)
    assert tries.troubled == {"pixel7-a"}
    assert tries.exhausted(Retries(infra=0, incomplete=1)) is None
    assert tries.exhausted(Retries(infra=9, incomplete=0)) == (
        "tries lost with their worker, host or controller: 1, and the budget is 0"
    )


def test_a_fault_of_the_lab_counts_against_another() -> None:
    book = TriesBook()
    for number in (1, 2):
        book.note(one(str(number)).began(number))
        book.note(one(str(number)).ended(Outcome.INFRA, "lost"))
    assert book.of(JOB).exhausted(Retries(infra=2, incomplete=0)) is None
    assert book.of(JOB).exhausted(Retries(infra=1, incomplete=9)) == (
        "tries ended by faults of the lab: 2, and the budget is 1"
    )


def test_a_device_that_could_not_be_used_is_nobodys_try() -> None:
    book = TriesBook([one("1").began(1), one("1").ended(Outcome.UNAVAILABLE, "not there")])
    tries = book.of(JOB)
    assert (tries.infra, tries.incomplete, tries.number) == (0, 0, 1)
    assert tries.troubled == {"pixel7-a"}


def test_a_loss_is_told_once_and_still_no_end() -> None:
    began = one("1").began(1)
    book = TriesBook([began, one("2").began(2), one("2").ended(Outcome.DONE, "recorded")])
    assert book.open() == [began]
    told = lost(began, "the controller", host="controller")
    assert told.text == (
        "pixel7 gemma-2b/int4 on mediapipe/webgpu: lost with the controller; queued again"
    )
    assert (told.run_id, told.resource) == ("run-1", "pixel7-a")
    book.note(told)
    assert book.open() == []
    assert book.of(JOB).incomplete == 1


def test_what_is_no_try_changes_nothing() -> None:
    book = TriesBook()
    book.note(Event.now(EventKind.JOB, "a line of somebody else", job=JOB))
    book.note(Event.now(EventKind.WORKER, "came", job=JOB, **{"try": "1", "phase": "began"}))
    book.note(Event.now(EventKind.JOB, "odd", job=JOB, phase="ended", outcome="?", **{"try": "1"}))
    assert book.of(JOB).number == 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, *Outcome])), max_size=20))
def test_the_budgets_add_up_whatever_happens(history: list[tuple[str, Outcome | None]]) -> None:
    book = TriesBook()
    for place, (worker, outcome) in enumerate(history):
        book.note(one(str(place), worker).began(place + 1))
        if outcome is not None:
            book.note(one(str(place), worker).ended(outcome, ""))
    tries = book.of(JOB)
    assert tries.incomplete == sum(outcome is None for _, outcome in history)
    assert tries.infra == sum(outcome is Outcome.INFRA for _, outcome in history)
    assert len(tries.began) == len(history)
    assert tries.troubled == {w for w, outcome in history if outcome is not Outcome.DONE}
    budget = Retries(infra=min(20, tries.infra), incomplete=min(20, tries.incomplete))
    assert tries.exhausted(budget) is None
