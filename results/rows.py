"""What records, findings and capabilities become in the store, and how they are read back."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import BaseModel, ValidationError

from results.claims import Outcome
from results.errors import StoreError
from results.figures import COLUMNS, CellKey, Figures, cell_text, moment
from results.record import Record
from results.response import Response

if TYPE_CHECKING:
    import sqlite3

    from results.capability import Capability

Finding = Outcome | Response
M = TypeVar("M", bound=BaseModel)

FINDINGS: Final[dict[str, type[Finding]]] = {"claim": Outcome, "response": Response}
"""What follows from several trials, by the `kind` it is stored under."""

RECORD_COLUMNS: Final = (
    "run_id",
    "started_at",
    "profile",
    "model",
    "quantisation",
    "runtime",
    "verdict",
    "request_id",
)
"""The columns of `records` that follow from its `body`."""

_INSERT_RECORD: Final = (
    f"INSERT OR IGNORE INTO records (trial_id, {', '.join(RECORD_COLUMNS)}, body)"  # noqa: S608 - names of our own
    f" VALUES ({', '.join('?' * (len(RECORD_COLUMNS) + 2))})"
)


class Kept(StrEnum):
    """What became of a record that was to be stored."""

    COUNTED = "counted"
    SUPERSEDED = "superseded"
    """Another one fulfils its request already: it is kept aside, and counts nowhere."""
    KNOWN = "known"


def record_columns(record: Record) -> tuple[str | None, ...]:
    """The values of `RECORD_COLUMNS`."""
    return (
        record.run_id,
        moment(record.started_at),
        record.device.profile,
        record.workload.model,
        record.workload.quantisation,
        record.workload.runtime,
        str(record.verdict),
        record.lineage.request_id if record.lineage else None,
    )


def insert_record(connection: sqlite3.Connection, record: Record, body: str | None = None) -> Kept:
    """Add a record with its figures and its place in the outbox. Inside a transaction.

    At most one record that states something fulfils a request. A second one, which engines that
    run a job at least once bring about, is kept in `superseded`: without figures, and never sent.

    Args:
        connection: with a transaction open.
        record: the record.
        body: the text it was read from, when it is to be kept as it is.

    Returns:
        What became of it; the same trial is stored once.
    """
    body = body or record.model_dump_json()
    if record.lineage and _is_superseded(connection, record.trial_id):
        return Kept.KNOWN
    added = connection.execute(_INSERT_RECORD, (record.trial_id, *record_columns(record), body))
    if added.rowcount:
        insert_figures(connection, record)
        connection.execute("INSERT INTO outbox (trial_id) VALUES (?)", (record.trial_id,))
        return Kept.COUNTED
    # Ignored: the trial is here, or its request is fulfilled.
    known = "SELECT 1 FROM records WHERE trial_id = ?"
    if record.lineage is None or connection.execute(known, (record.trial_id,)).fetchone():
        return Kept.KNOWN
    connection.execute(
        "INSERT INTO superseded (trial_id, run_id, request_id, started_at, body)"
        " VALUES (?, ?, ?, ?, ?)",
        (
            record.trial_id,
            record.run_id,
            record.lineage.request_id,
            moment(record.started_at),
            body,
        ),
    )
    return Kept.SUPERSEDED


def _is_superseded(connection: sqlite3.Connection, trial_id: str) -> bool:
    query = "SELECT 1 FROM superseded WHERE trial_id = ?"
    return connection.execute(query, (trial_id,)).fetchone() is not None


def insert_figures(connection: sqlite3.Connection, record: Record) -> None:
    """Add the figures of a stored record. Inside a transaction."""
    key = cell_text(CellKey.of(record))
    connection.execute("INSERT OR IGNORE INTO cells (key) VALUES (?)", (key,))
    connection.execute(_INSERT_FIGURES, (key, *Figures.of(record)))


_INSERT_FIGURES: Final = (
    f"INSERT INTO figures (cell_id, {', '.join(COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ((SELECT cell_id FROM cells WHERE key = ?), {', '.join('?' * len(COLUMNS))})"
)


def insert_finding(
    connection: sqlite3.Connection, finding: Finding, body: str | None = None
) -> None:
    """Add a finding. Inside a transaction."""
    connection.execute(
        "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            finding.run_id,
            moment(finding.at),
            finding.kind,
            finding.profile,
            finding.runtime,
            finding.model,
            body or finding.model_dump_json(),
        ),
    )


def insert_capability(
    connection: sqlite3.Connection, capability: Capability, body: str | None = None
) -> bool:
    """Add a capability; whether it was new. Inside a transaction."""
    added = connection.execute(
        "INSERT OR IGNORE INTO capabilities VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            capability.capability_id,
            capability.run_id,
            moment(capability.started_at),
            capability.device.profile,
            capability.library,
            capability.backend,
            capability.verdict,
            body or capability.model_dump_json(),
        ),
    )
    return bool(added.rowcount)


def parse_record(trial_id: str, body: str) -> Record:
    """The record that a body holds.

    Raises:
        StoreError: it does not follow the schema of this version.
    """
    return parse(Record, body, f"the record of trial {trial_id}")


def parse(shape: type[M], body: str, called: str) -> M:
    """What a body holds.

    Args:
        shape: what it should be.
        body: JSON.
        called: its name, for the error.

    Raises:
        StoreError: it does not follow the schema of this version.
    """
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"{called} cannot be read: {error}") from error
