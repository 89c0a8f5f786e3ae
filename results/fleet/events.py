"""The journal: what happened in the lab, one line an event.

Events are only ever added, and each has an id of its own, so that the journals of many hosts can be
put together in any order, and as often as one likes.
"""

from __future__ import annotations

import platform
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, JsonValue

from results.figures import moment
from results.record import Part
from results.rows import parse
from results.table import plain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from results.store import Store


def _in_utc(time: datetime) -> datetime:
    """The same time in UTC, which is what a time without a zone is taken for."""
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError as error:  # of year 1 or 9999
        raise ValueError(f"{time} is no time in UTC") from error


At = Annotated[datetime, AfterValidator(_in_utc)]
"""When something happened, in UTC."""


class EventKind(StrEnum):
    """What an event is about."""

    RUN = "run"
    ATTEMPT = "attempt"
    HEALTH = "health"
    LEASE = "lease"
    DEVICE = "device"
    """Drained, under maintenance, and back."""
    WORKER = "worker"
    CONTROLLER = "controller"
    JOB = "job"


class Event(Part):
    """One line of the journal."""

    event_id: str = Field(min_length=1, max_length=200)
    at: At
    host: str
    kind: EventKind
    run_id: str | None = None
    resource: str | None = Field(default=None, description="what leases are taken on")
    profile: str | None = None
    text: Annotated[str, AfterValidator(plain)] = Field(description="one line for a reader")
    detail: dict[str, JsonValue] = Field(default={})

    @classmethod
    def now(
        cls,
        kind: EventKind,
        text: str,
        *,
        host: str | None = None,
        run_id: str | None = None,
        resource: str | None = None,
        profile: str | None = None,
        **detail: JsonValue,
    ) -> Event:
        """What happens now, on this host where no other is named."""
        return cls(
            event_id=uuid.uuid4().hex,
            at=datetime.now(UTC),
            host=host or platform.node(),
            kind=kind,
            run_id=run_id,
            resource=resource,
            profile=profile,
            text=text,
            detail=detail,
        )


def add_events(store: Store, *events: Event) -> int:
    """Add events; one that is there already is left. On disk when this returns.

    Returns:
        How many were new.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction() as connection:
        return sum(insert_event(connection, event) for event in events)


def insert_event(connection: sqlite3.Connection, event: Event, body: str | None = None) -> bool:
    """Add an event, and say whether it was new. Inside a transaction."""
    added = connection.execute(
        "INSERT OR IGNORE INTO events (event_id, at, kind, run_id, resource, body)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            event.event_id,
            moment(event.at),
            str(event.kind),
            event.run_id,
            event.resource,
            body or event.model_dump_json(),
        ),
    )
    return bool(added.rowcount)


def events(
    store: Store,
    *,
    run_id: str | None = None,
    resource: str | None = None,
    kinds: Iterable[EventKind] = (),
    since: datetime | None = None,
) -> list[Event]:
    """Events in the order of their times, and of their ids at the same time.

    Args:
        store: where they are.
        run_id: of this run only.
        resource: of this resource only.
        kinds: of these kinds only; of all where none is named.
        since: at that time or later.

    Raises:
        StoreError: the store cannot be read, or an event does not follow its schema.
    """
    chosen = [str(kind) for kind in kinds]
    conditions: list[tuple[str, list[str]]] = []
    if run_id is not None:
        conditions.append(("run_id = ?", [run_id]))
    if resource is not None:
        conditions.append(("resource = ?", [resource]))
    if chosen:
        conditions.append((f"kind IN ({', '.join('?' * len(chosen))})", chosen))
    if since is not None:
        conditions.append(("at >= ?", [moment(since)]))
    where = " AND ".join(text for text, _ in conditions) or "true"
    rows = store.each(
        f"SELECT event_id, body FROM events WHERE {where} ORDER BY at, event_id",  # noqa: S608 - our own
        [value for _, values in conditions for value in values],
    )
    return [parse(Event, body, f"event {event_id}") for event_id, body in rows]
