"""What a laboratory keeps: records, events and the like in the store, durably or not at all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from harness.errors import UserError
from results.fleet.attempts import attempts
from results.fleet.events import add_events
from results.fleet.requests import Request, add_requests, fulfilled, last_try
from results.store import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.capability import Capability
    from results.claims import Outcome
    from results.fleet.events import Event
    from results.record import Record
    from results.response import Response


Cause = Literal["infra", "incomplete", "failure"]


class Keeper:
    """Writes to the store; a disk that takes no more is for the user to mend.

    Args:
        store: open, and closed by whoever opened it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, record: Record) -> None:
        """Store a record; it is on disk when this returns."""
        problem = f"the record of trial {record.trial_id} cannot be stored"
        with _told(problem, "free the disk; the trial must be run again"):
            self._store.add(record)

    def finding(self, finding: Outcome | Response) -> None:
        """Store what follows from several trials; it is on disk when this returns."""
        with _told("a finding cannot be stored"):
            self._store.add_finding(finding)

    def capability(self, capability: Capability) -> None:
        """Store a capability; it is on disk when this returns."""
        with _told("a capability cannot be stored"):
            self._store.add_capability(capability)

    def event(self, event: Event) -> None:
        """Add a line to the journal; it is on disk when this returns."""
        with _told(f"it cannot be noted that {event.text}"):
            add_events(self._store, event)

    def request(self, request: Request) -> Record | None:
        """Note a request before it is run; the record that fulfils it, if there is one already."""
        with _told(f"the request for {request.workload.model} cannot be noted"):
            add_requests(self._store, [request])
            return fulfilled(self._store, request.request_id)

    def before(self, request: Request, attempt_id: str) -> tuple[str | None, Cause | None]:
        """The try of an open request by an earlier attempt: its record, and why it was not enough.

        An attempt that set out to fulfil it and has no end left nothing of it: it was killed, or
        goes on elsewhere.
        """
        with _told("what was tried before cannot be read"):
            if last := last_try(self._store, request.request_id):
                return last, "infra"
            for attempt in attempts(self._store, request.run_id):
                asked = request.request_id in attempt.request_ids
                if asked and attempt.ended_at is None and attempt.attempt_id != attempt_id:
                    return None, "incomplete"
        return None, None


@contextmanager
def _told(problem: str, then: str = "free the disk, and run again") -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise UserError(f"{problem}: {error}", then) from error
