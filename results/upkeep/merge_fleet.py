"""The fleet's side of an import: requests, lines of the journal, and tests of the suites.

Whatever the order in which stores are put together, and however often, the same comes out.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from results.errors import StoreError
from results.fleet.events import Event, insert_event
from results.fleet.requests import Request, insert_request
from results.fleet.suite_tests import COLUMNS, SuiteTest, insert_test
from results.rows import parse

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from typing import Any

    from results.store import Store

# Some 300 bytes each; one commit to the disk a portion.
_PORTION: Final = 1000


@dataclass
class FleetMerged:
    """What was taken.

    Attributes:
        requests: requested trials that were not known.
        events: lines of the journal that were not known.
        tests: tests that were not known, or not how they ended.
        conflicts: lines that are others here.
        unreadable: what does not follow the schema, with the reason; it was not taken.
    """

    requests: int = 0
    events: int = 0
    tests: int = 0
    conflicts: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def merge_fleet(store: Store, other: Store) -> FleetMerged:
    """Take what is not here yet.

    Args:
        store: where to.
        other: a store of today's schema.

    Raises:
        StoreError: one of them cannot be read, or this one not be written.
    """
    done = FleetMerged()

    def taken(query: str, take: Callable[[sqlite3.Connection, tuple[Any, ...]], bool]) -> int:
        count = 0
        rows = other.each(query)
        while portion := list(itertools.islice(rows, _PORTION)):
            with store.transaction() as connection:
                for row in portion:
                    try:
                        count += take(connection, row)
                    except _ConflictError as error:
                        done.conflicts.append(str(error))
                    except StoreError as error:
                        done.unreadable.append(str(error))
        return count

    done.requests = taken("SELECT request_id, body FROM requests", _take_request)
    done.events = taken("SELECT event_id, body FROM events", _take_event)
    done.tests = taken(f"SELECT {', '.join(COLUMNS)} FROM tests", _take_test)  # noqa: S608 - our own
    return done


class _ConflictError(Exception):
    """The same id stands for something else here."""


def _take_request(connection: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    name, body = row
    request = parse(Request, body, f"request {name}")
    if request.request_id != name:
        raise StoreError(f"request {name} holds {request.request_id}")
    return insert_request(connection, request)


def _take_event(connection: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    name, body = row
    event = parse(Event, body, f"event {name}")
    if event.event_id != name:
        raise StoreError(f"event {name} holds {event.event_id}")
    if insert_event(connection, event):
        return True
    ((here,),) = connection.execute("SELECT body FROM events WHERE event_id = ?", (name,))
    if parse(Event, here, f"event {name}") != event:
        raise _ConflictError(f"event {name} is another one here; it was left")
    return False


def _take_test(connection: sqlite3.Connection, row: tuple[Any, ...]) -> bool:
    values = dict(zip(COLUMNS, row, strict=True))
    try:
        test = SuiteTest.model_validate(values)
    except ValidationError as error:
        raise StoreError(f"test {values['node_id']} cannot be read: {error}") from error
    return insert_test(connection, test)
