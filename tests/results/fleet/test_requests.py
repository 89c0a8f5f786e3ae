"""A request is fulfilled once: what counts, what is set aside, and what is still open."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.fleet.requests import (
    add_requests,
    fulfilled,
    progress,
    request_id,
    requests,
)
from results.influx import outbox
from results.matrix.build import build_matrix
from results.query import count_faults, figures
from results.record import Verdict, WorkloadRecord
from results.regressions.comparable import Dimension
from results.regressions.search import find_regressions
from results.store import Kept, Store
from tests.results.fleet.fleets import RUN, asked, tried
from tests.results.records import TEXT, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKLOAD = record().workload
NOW = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        opened.start_run(RUN, "a command")
        yield opened


# ---- ids ----


def test_the_id_of_a_request_is_the_same_everywhere() -> None:
    # Written down: an id that changes between versions would make a run that goes on begin anew.
    assert request_id("run", "pixel7", WORKLOAD) == "2c9540f6cd7cb09d0bf3ea369f087e1f"


def test_a_field_that_a_workload_gets_later_changes_no_id() -> None:
    class Later(WorkloadRecord):
        new: str = "as ever"

    assert request_id("run", "p", Later(**WORKLOAD.model_dump())) == request_id(
        "run", "p", WORKLOAD
    )


ASKED = st.tuples(
    TEXT,
    TEXT,
    st.builds(
        WorkloadRecord,
        model=TEXT,
        quantisation=TEXT,
        runtime=TEXT,
        prompt_tokens=st.integers(0, 3),
        output_tokens=st.integers(0, 3),
        variant=TEXT,
    ),
    st.integers(0, 3),
    TEXT,
    st.booleans(),
)


@given(ASKED, ASKED)
def test_two_requests_have_one_id_only_where_they_are_one(
    one: tuple[str, str, WorkloadRecord, int, str, bool],
    other: tuple[str, str, WorkloadRecord, int, str, bool],
) -> None:
    ids = [
        request_id(run, profile, workload, repeat=repeat, mark=mark, offline=offline)
        for run, profile, workload, repeat, mark, offline in (one, other)
    ]
    assert (ids[0] == ids[1]) == (one == other)


# ---- what counts ----


def test_a_second_statement_is_set_aside_and_counts_nowhere(store: Store) -> None:
    (request,) = asked(1)
    first, second = tried("first", request), tried("second", request, Verdict.CRASH)
    assert store.add(first) is Kept.COUNTED
    assert store.add(second) is Kept.SUPERSEDED
    assert store.records() == [first]
    assert fulfilled(store, request.request_id) == first
    assert [one.figures.trial_id for one in figures(store)] == ["first"]
    assert outbox.next_batch(store, lambda *_: ["l"], None, after=0, most=9).trials == ["first"]
    ((body,),) = store.read("SELECT body FROM superseded WHERE trial_id = 'second'")
    assert body == second.model_dump_json()


def test_the_same_trial_is_stored_once_wherever_it_is(store: Store) -> None:
    (request,) = asked(1)
    for trial in ("first", "second"):
        store.add(tried(trial, request))
        assert store.add(tried(trial, request)) is Kept.KNOWN
    # Also when what counted was pruned meanwhile.
    with store.transaction() as connection:
        connection.execute("DELETE FROM records")
    assert store.add(tried("second", request)) is Kept.KNOWN
    assert store.records() == []


@pytest.mark.parametrize("verdict", [Verdict.INFRA, Verdict.CASCADE])
def test_a_fault_of_the_lab_fulfils_nothing_and_is_kept(store: Store, verdict: Verdict) -> None:
    (request,) = asked(1)
    for trial in ("one", "two"):
        assert store.add(tried(trial, request, verdict)) is Kept.COUNTED
    assert fulfilled(store, request.request_id) is None
    assert store.add(tried("good", request)) is Kept.COUNTED
    assert store.add(tried("late", request, verdict)) is Kept.COUNTED
    assert store.read("SELECT count(*) FROM superseded") == [(0,)]
    assert sum(count_faults(store).values()) == 3


def test_records_of_no_request_are_as_many_as_come(store: Store) -> None:
    for trial in ("a", "b"):
        assert store.add(record(trial, RUN)) is Kept.COUNTED
    assert store.add(record("a", RUN)) is Kept.KNOWN


def test_the_file_itself_refuses_a_second_one(store: Store) -> None:
    (request,) = asked(1)
    store.add(tried("one", request))
    store.add(tried("other", request, Verdict.INFRA))
    with pytest.raises(sqlite3.IntegrityError, match="request_id"):
        store._connection.execute("UPDATE records SET verdict = 'ok'")


# ---- progress ----


def test_how_far_a_run_has_come(store: Store) -> None:
    wanted = asked(5)
    assert add_requests(store, wanted[:3]) == 3
    assert add_requests(store, wanted) == 2
    assert add_requests(store, asked(1, "another")) == 1
    assert requests(store, RUN) == wanted
    store.add(tried("a", wanted[0]))
    store.add(tried("b", wanted[0]))
    store.add(tried("c", wanted[1], Verdict.OOM))
    store.add(tried("d", wanted[2], Verdict.INFRA))
    store.add(tried("e", wanted[3], Verdict.INFRA))
    store.add(tried("f", wanted[3]))
    found = progress(store, RUN)
    assert (found.requested, found.recorded, found.superseded) == (5, 3, 1)
    assert found.lab_faults == [wanted[2]]
    assert found.missing == [wanted[4]]
    assert found.open == [wanted[2], wanted[4]]


def test_of_a_run_without_requests_there_is_nothing_to_say(store: Store) -> None:
    found = progress(store, RUN)
    assert (found.requested, found.recorded, found.superseded, found.open) == (0, 0, 0, [])


def test_the_first_to_ask_stays(store: Store) -> None:
    (first,) = asked(1)
    later = first.model_copy(update={"requested_at": first.requested_at + timedelta(hours=1)})
    for order in ((later, first), (first, later)):
        add_requests(store, order)
        assert requests(store, RUN) == [first]


# ---- nothing that is set aside is published ----


def test_neither_matrix_nor_figures_nor_regressions_see_what_is_set_aside(tmp_path: Path) -> None:
    """Two stores, of which one has set aside trials beside: the same comes out of both."""
    wanted = asked(3)
    told = []
    for name, extra in (("plain", False), ("fleet", True)):
        with Store.open(tmp_path / name) as store:
            store.start_run(RUN, "")
            for number, request in enumerate(wanted):
                store.add(tried(f"t{number}", request))
                if extra:
                    assert store.add(tried(f"x{number}", request, Verdict.OOM)) is Kept.SUPERSEDED
            told.append(
                (
                    build_matrix(store, NOW),
                    store.records(),
                    list(figures(store)),
                    [find_regressions(figures(store), by) for by in Dimension],
                )
            )
    assert told[0] == told[1]
