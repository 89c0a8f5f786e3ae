"""Requested trials, and how far a run has fulfilled them.

A request is fulfilled by one record that states something of the device. The store sees to it that
no second one counts (`results.rows.insert_record`), so that a run can be done again from any point:
what is fulfilled is not run again, and if it is all the same, it does not count twice.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from pydantic import Field

from results.figures import moment
from results.fleet.events import At  # noqa: TC001 - pydantic reads annotations at run time
from results.query import NO_STATEMENT
from results.record import Part, Record, WorkloadRecord
from results.rows import parse, parse_record

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from results.store import Store

# Half of a SHA-256: 128 bits.
_DIGITS: Final = 32

_STATES: Final = f"verdict NOT IN {NO_STATEMENT}"


class Request(Part):
    """One trial that was asked for."""

    run_id: str
    request_id: str
    profile: str
    workload: WorkloadRecord
    repeat: int = Field(default=0, ge=0)
    mark: str = Field(default="", description="which side and round of a comparison; else empty")
    offline: bool = Field(default=False, description="followed by a load with the network cut")
    requested_at: At

    @classmethod
    def of(
        cls,
        run_id: str,
        profile: str,
        workload: WorkloadRecord,
        *,
        repeat: int = 0,
        mark: str = "",
        offline: bool = False,
    ) -> Request:
        """What is asked for now, with the id that follows from it."""
        return cls(
            run_id=run_id,
            request_id=request_id(
                run_id, profile, workload, repeat=repeat, mark=mark, offline=offline
            ),
            profile=profile,
            workload=workload,
            repeat=repeat,
            mark=mark,
            offline=offline,
            requested_at=datetime.now(UTC),
        )


def request_id(
    run_id: str,
    profile: str,
    workload: WorkloadRecord,
    *,
    repeat: int = 0,
    mark: str = "",
    offline: bool = False,
) -> str:
    """The id of a request: the same on every host, for the same trial of the same run.

    Fields of a workload with their default are left out: one that a later version brings changes
    no id.
    """
    asked = workload.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps([run_id, profile, asked, repeat, mark, offline], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def add_requests(store: Store, requests: Iterable[Request]) -> int:
    """Add requests; on disk when this returns. One that two ask for is one.

    Returns:
        How many were new.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction() as connection:
        return sum(insert_request(connection, request) for request in requests)


def insert_request(connection: sqlite3.Connection, request: Request) -> bool:
    """Add a request, and say whether it was new. Inside a transaction.

    The first to ask stays, whoever arrives first: stores hold the same after any merge.
    """
    known = connection.execute(
        "SELECT 1 FROM requests WHERE request_id = ?", (request.request_id,)
    ).fetchone()
    connection.execute(
        "INSERT INTO requests (request_id, run_id, requested_at, body) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (request_id) DO UPDATE"
        " SET requested_at = excluded.requested_at, body = excluded.body"
        " WHERE excluded.requested_at < requested_at",
        (
            request.request_id,
            request.run_id,
            moment(request.requested_at),
            request.model_dump_json(),
        ),
    )
    return known is None


def requests(store: Store, run_id: str) -> list[Request]:
    """The requests of a run, in the order in which they were made.

    Raises:
        StoreError: the store cannot be read, or a request does not follow its schema.
    """
    rows = store.read(
        "SELECT request_id, body FROM requests WHERE run_id = ? ORDER BY requested_at, request_id",
        (run_id,),
    )
    return [parse(Request, body, f"request {name}") for name, body in rows]


def fulfilled(store: Store, request_id: str) -> Record | None:
    """The record that fulfils a request, and counts; `None` where it is still open.

    Raises:
        StoreError: the store cannot be read, or the record does not follow its schema.
    """
    rows = store.read(
        f"SELECT trial_id, body FROM records WHERE request_id = ? AND {_STATES}",  # noqa: S608 - our own
        (request_id,),
    )
    return parse_record(*rows[0]) if rows else None


def last_try(store: Store, request_id: str) -> str | None:
    """The trial id of the newest record of a request that counts, whatever it says; or `None`.

    Raises:
        StoreError: the store cannot be read.
    """
    rows = store.read(
        "SELECT trial_id FROM records WHERE request_id = ?"
        " ORDER BY started_at DESC, trial_id DESC LIMIT 1",
        (request_id,),
    )
    return str(rows[0][0]) if rows else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        requested: how many trials were asked for.
        recorded: how many of them have a record that counts; each has one.
        lab_faults: those with records of faults of the lab only.
        missing: those without any record.
        superseded: records that were set aside, as another one fulfils their request.
    """

    requested: int
    recorded: int
    lab_faults: list[Request]
    missing: list[Request]
    superseded: int

    @property
    def open(self) -> list[Request]:
        """The requests that nothing fulfils."""
        return [*self.lab_faults, *self.missing]


def progress(store: Store, run_id: str) -> Progress:
    """How far a run has come, by its requests.

    Raises:
        StoreError: the store cannot be read, or a request does not follow its schema.
    """
    asked = requests(store, run_id)
    tried: dict[str, int] = dict(
        store.read(
            f"SELECT request_id, max({_STATES}) FROM records"  # noqa: S608 - our own
            " WHERE run_id = ? AND request_id IS NOT NULL GROUP BY request_id",
            (run_id,),
        )
    )
    ((superseded,),) = store.read("SELECT count(*) FROM superseded WHERE run_id = ?", (run_id,))
    return Progress(
        requested=len(asked),
        recorded=sum(bool(tried.get(one.request_id)) for one in asked),
        lab_faults=[one for one in asked if tried.get(one.request_id) == 0],
        missing=[one for one in asked if one.request_id not in tried],
        superseded=superseded,
    )
