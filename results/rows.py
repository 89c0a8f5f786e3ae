"""What records, findings and capabilities become in the store, and how they are read back."""

from __future__ import annotations

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
)
"""The columns of `records` between `trial_id` and `body`."""


def record_columns(record: Record) -> tuple[str, ...]:
    """The values of `RECORD_COLUMNS`."""
    return (
        record.run_id,
        moment(record.started_at),
        record.device.profile,
        record.workload.model,
        record.workload.quantisation,
        record.workload.runtime,
        str(record.verdict),
    )


def insert_record(connection: sqlite3.Connection, record: Record, body: str | None = None) -> bool:
    """Add a record with its figures and its place in the outbox. Inside a transaction.

    Args:
        connection: with a transaction open.
        record: the record.
        body: the text it was read from, when it is to be kept as it is.

    Returns:
        Whether it was new; the same trial is stored once.
    """
    added = connection.execute(
        "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (record.trial_id, *record_columns(record), body or record.model_dump_json()),
    )
    if not added.rowcount:
        return False
    insert_figures(connection, record)
    connection.execute("INSERT INTO outbox (trial_id) VALUES (?)", (record.trial_id,))
    return True


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
