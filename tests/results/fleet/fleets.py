"""Stores of a fleet for tests: requests, and trials that belong to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from results.fleet.attempts import began, ended
from results.fleet.events import add_events
from results.fleet.requests import Request, add_requests
from results.fleet.suite_tests import SuiteTest, finish_test, request_tests
from results.record import Lineage, Record, Verdict
from tests.results.records import record
from tests.results.stores import with_evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.fleet.suite_tests import TestOutcome
    from results.store import Store

RUN = "run-1"


def asked(count: int, run_id: str = RUN) -> list[Request]:
    """Requests of a run, each of another repeat."""
    return [
        Request.of(run_id, "desktop", record().workload, repeat=repeat) for repeat in range(count)
    ]


def tried(
    trial_id: str,
    request: Request,
    verdict: Verdict = Verdict.OK,
    *,
    attempt: str = "attempt-1",
    resource: str = "phone-1",
    retry_of: str | None = None,
    **changes: Any,
) -> Record:
    """A trial of a request."""
    lineage = Lineage(
        request_id=request.request_id,
        attempt_id=attempt,
        resource=resource,
        retry_of=retry_of,
        retry_cause="failure" if retry_of else None,
    )
    return record(trial_id, request.run_id, verdict=verdict, lineage=lineage, **changes)


def ids(requests: Sequence[Request]) -> list[str]:
    """The ids of requests."""
    return [request.request_id for request in requests]


def suite_test(
    store: Store,
    attempt_id: str,
    node_id: str,
    *,
    at: datetime | None = None,
    outcome: TestOutcome | None = None,
    lab_fault: bool = False,
    profile: str = "desktop",
) -> None:
    """A test that was asked for, and how it ended where that is said."""
    request_tests(
        store,
        [
            SuiteTest(
                attempt_id=attempt_id,
                node_id=node_id,
                run_id=RUN,
                host="lab-1",
                profile=profile,
                suite="full_load",
                requested_at=at or datetime.now(UTC),
            )
        ],
    )
    if outcome:
        finish_test(store, attempt_id, node_id, outcome=outcome, seconds=2.0, lab_fault=lab_fault)


def story(store: Store, *, at: datetime | None = None) -> None:
    """A run: two trials that count, one that was set aside, two attempts, of which one goes on."""
    folder = store.path.parent
    store.start_run(RUN, "a fleet's run")
    wanted = [one.model_copy(update={"requested_at": at}) if at else one for one in asked(3)]
    add_requests(store, wanted)
    for attempt in ("attempt-1", "open"):
        begin = began(RUN, attempt, devices=["phone-1"], request_ids=ids(wanted), host="lab-1")
        add_events(store, begin.model_copy(update={"at": at or begin.at}))
        suite_test(store, attempt, f"suites/test_x.py::test_{attempt}", at=at)
    for trial, request in (("one", 0), ("again", 0), ("two", 1)):
        place = with_evidence(folder, trial)
        store.add(tried(trial, wanted[request], files=place.files))
    add_events(store, ended(RUN, "attempt-1", exit_code=0, host="lab-1"))
    store.finish_run(RUN)
    if at:
        with store.transaction() as connection:
            connection.execute("UPDATE runs SET started_at = ?", (at.isoformat(),))
            connection.execute("DELETE FROM events WHERE at > ?", (at.isoformat(),))
