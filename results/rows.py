"""What a record becomes in the store: its own row, its figures, its place in the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from results.errors import StoreError
from results.figures import COLUMNS, CellKey, Figures, cell_text, moment
from results.record import Record

if TYPE_CHECKING:
    import sqlite3


def insert_record(connection: sqlite3.Connection, record: Record) -> bool:
    """Add a record with all that follows from it; whether it was new. Inside a transaction."""
    added = connection.execute(
        "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.trial_id,
            record.run_id,
            moment(record.started_at),
            record.device.profile,
            record.workload.model,
            record.workload.quantisation,
            record.workload.runtime,
            record.verdict,
            record.model_dump_json(),
        ),
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


def parse_record(trial_id: str, body: str) -> Record:
    """The record that a body holds.

    Raises:
        StoreError: it does not follow the schema of this version.
    """
    try:
        return Record.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"the record of trial {trial_id} cannot be read: {error}") from error
