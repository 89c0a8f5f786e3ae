"""Stores of a fleet for tests: requests, and trials that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from results.fleet.requests import Request
from results.record import Lineage, Record, Verdict
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Sequence

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
