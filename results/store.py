"""The embedded store: one SQLite file that several processes write to at once.

WAL with `synchronous=FULL`, and one `BEGIN IMMEDIATE` transaction a record: a record is on disk
before the next trial begins, and `kill -9` leaves whole records only. Never put it on a network
file system: SQLite's locks do not hold there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pydantic import ValidationError

from results.capability import Capability
from results.claims import Outcome
from results.figures import COLUMNS, CellKey, Figures, cell_text
from results.record import Record
from results.response import Response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

F = TypeVar("F", Outcome, Response)

FILE_NAME: Final = "store.sqlite3"

# Another process's transaction lasts milliseconds; a minute of waiting means that it is stuck.
BUSY_MILLISECONDS: Final = 60_000

# Step n brings a store from version n to n + 1. A released step is never edited.
MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        command TEXT NOT NULL
    ) STRICT;
    CREATE TABLE records (
        trial_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        started_at TEXT NOT NULL,
        profile TEXT NOT NULL,
        model TEXT NOT NULL,
        quantisation TEXT NOT NULL,
        runtime TEXT NOT NULL,
        verdict TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX records_by_run ON records(run_id, started_at);
    CREATE INDEX records_by_cell ON records(profile, model, quantisation, runtime, started_at);
    """,
    # What follows from several trials: claims held against them, and response times.
    """
    CREATE TABLE findings (
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        profile TEXT NOT NULL,
        runtime TEXT NOT NULL,
        model TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX findings_by_run ON findings(run_id, kind, at);
    """,
    """
    CREATE TABLE capabilities (
        capability_id TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs(run_id),
        started_at TEXT NOT NULL,
        profile TEXT NOT NULL,
        library TEXT NOT NULL,
        backend TEXT NOT NULL,
        verdict TEXT NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX capabilities_by_run ON capabilities(run_id, started_at);
    """,
    # Figures of the records, flat and kept together by cell of the matrix; and the outbox: which
    # records still have to be sent, and single lines that the database refused.
    """
    CREATE TABLE cells (
        cell_id INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE
    ) STRICT;
    CREATE TABLE figures (
        cell_id INTEGER NOT NULL REFERENCES cells(cell_id),
        trial_id TEXT NOT NULL REFERENCES records(trial_id) ON DELETE CASCADE,
        run_id TEXT NOT NULL,
        started_at TEXT NOT NULL,
        host TEXT NOT NULL,
        verdict TEXT NOT NULL,
        cause TEXT NOT NULL,
        tier TEXT,
        predicted_verdict TEXT NOT NULL,
        predicted_tier TEXT,
        judgement TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        output_tokens INTEGER NOT NULL,
        artifact_key TEXT,
        artifact_kind TEXT,
        artifact_bytes INTEGER,
        harness_version TEXT NOT NULL,
        browser TEXT NOT NULL,
        browser_version TEXT NOT NULL,
        runtime_version TEXT NOT NULL,
        operating_system TEXT NOT NULL,
        adapter TEXT,
        threads INTEGER,
        load_average REAL,
        host_at_rest INTEGER,
        temperature_celsius REAL,
        throttled_seconds REAL,
        load_seconds REAL,
        first_token_seconds REAL,
        prefill_tokens_per_s REAL,
        decode_tokens_per_s REAL,
        peak_bytes REAL,
        predicted_load_seconds REAL,
        predicted_load_seconds_low REAL,
        predicted_load_seconds_high REAL,
        predicted_first_token_seconds REAL,
        predicted_first_token_seconds_low REAL,
        predicted_first_token_seconds_high REAL,
        predicted_prefill_tokens_per_s REAL,
        predicted_prefill_tokens_per_s_low REAL,
        predicted_prefill_tokens_per_s_high REAL,
        predicted_decode_tokens_per_s REAL,
        predicted_decode_tokens_per_s_low REAL,
        predicted_decode_tokens_per_s_high REAL,
        predicted_peak_bytes REAL,
        predicted_peak_bytes_low REAL,
        predicted_peak_bytes_high REAL,
        PRIMARY KEY (cell_id, started_at, trial_id)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX figures_by_trial ON figures(trial_id);
    CREATE INDEX figures_by_run ON figures(run_id);
    CREATE TABLE outbox (
        seq INTEGER PRIMARY KEY,
        trial_id TEXT NOT NULL UNIQUE REFERENCES records(trial_id) ON DELETE CASCADE
    ) STRICT;
    CREATE TABLE parked (
        seq INTEGER PRIMARY KEY,
        trial_id TEXT NOT NULL,
        line TEXT NOT NULL UNIQUE,
        reason TEXT NOT NULL,
        parked_at TEXT NOT NULL
    ) STRICT;
    INSERT INTO outbox (trial_id) SELECT trial_id FROM records ORDER BY started_at, trial_id;
    """,
)

# What follows a step where SQL does not do: `_derive` gives the records of old their figures.
_FIGURES_VERSION: Final = 4


class StoreError(Exception):
    """The store cannot be used; the message says which file and why."""


class Store:
    """An open store. Usable as a context manager; not shared between threads."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self.path = path

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Open the store of a results folder, making both where they are missing.

        Raises:
            StoreError: the folder or file cannot be made, is damaged, or is newer than this code.
        """
        path = directory / FILE_NAME
        try:
            directory.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(
                path, isolation_level=None, timeout=BUSY_MILLISECONDS / 1e3
            )
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        try:
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection)
        except sqlite3.Error as error:
            connection.close()
            raise StoreError(f"{path}: cannot be used: {error}") from error
        except StoreError as error:
            connection.close()
            raise StoreError(f"{path}: {error}") from error
        return cls(connection, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def start_run(self, run_id: str, command: str) -> None:
        """Note that a run began; a second call with the same id changes nothing."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO runs (run_id, started_at, command) VALUES (?, ?, ?)",
                (run_id, datetime.now(UTC).isoformat(), command),
            )

    def finish_run(self, run_id: str) -> None:
        """Note that a run ended in order; a run that was killed has no end."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE runs SET ended_at = ? WHERE run_id = ? AND ended_at IS NULL",
                (datetime.now(UTC).isoformat(), run_id),
            )

    def add(self, record: Record) -> None:
        """Store a record; it is on disk when this returns. The same trial is stored once.

        Its figures and its place in the outbox are part of the same transaction.
        """
        with self._transaction() as connection:
            insert_record(connection, record)

    def records(self, *, run_id: str | None = None) -> list[Record]:
        """The records of one run, or all of them, oldest first.

        Raises:
            StoreError: a record does not follow the schema of this version.
        """
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self._read(
            f"SELECT trial_id, body FROM records {where} ORDER BY started_at, trial_id",  # noqa: S608
            values,
        )
        return [_parse(trial_id, body) for trial_id, body in rows]

    def add_finding(self, finding: Outcome | Response) -> None:
        """Store what follows from several trials; it is on disk when this returns."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    finding.run_id,
                    finding.at.isoformat(),
                    finding.kind,
                    finding.profile,
                    finding.runtime,
                    finding.model,
                    finding.model_dump_json(),
                ),
            )

    def outcomes(self, *, run_id: str) -> list[Outcome]:
        """The claims that a run held against its trials, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        return [_parse_finding(Outcome, body) for body in self._findings("claim", run_id)]

    def responses(self, *, run_id: str) -> list[Response]:
        """The response times that a run found, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        return [_parse_finding(Response, body) for body in self._findings("response", run_id)]

    def _findings(self, kind: str, run_id: str) -> list[str]:
        rows = self._read(
            "SELECT body FROM findings WHERE run_id = ? AND kind = ? ORDER BY at, rowid",
            (run_id, kind),
        )
        return [body for (body,) in rows]

    def add_capability(self, capability: Capability) -> None:
        """Store a capability; it is on disk when this returns. The same one is stored once."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO capabilities VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    capability.capability_id,
                    capability.run_id,
                    capability.started_at.isoformat(),
                    capability.device.profile,
                    capability.library,
                    capability.backend,
                    capability.verdict,
                    capability.model_dump_json(),
                ),
            )

    def capabilities(self, *, run_id: str | None = None) -> list[Capability]:
        """The capabilities of one run, or all of them, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self._read(
            f"SELECT body FROM capabilities {where} ORDER BY started_at, rowid",  # noqa: S608
            values,
        )
        return [_parse_capability(body) for (body,) in rows]

    def latest_run(self) -> str | None:
        """The id of the run that began last."""
        rows = self._read("SELECT run_id FROM runs ORDER BY started_at DESC, rowid DESC LIMIT 1")
        return rows[0][0] if rows else None

    def _read(self, query: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                _roll_back(self._connection)
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from error


def insert_record(connection: sqlite3.Connection, record: Record) -> bool:
    """Add a record with all that follows from it; whether it was new. Inside a transaction."""
    added = connection.execute(
        "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.trial_id,
            record.run_id,
            record.started_at.isoformat(),
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
    connection.execute(_INSERT_FIGURES, (key, *Figures.of(record).row()))


_INSERT_FIGURES: Final = (
    f"INSERT INTO figures (cell_id, {', '.join(COLUMNS)})"  # noqa: S608 - names of our own
    f" VALUES ((SELECT cell_id FROM cells WHERE key = ?), {', '.join('?' * len(COLUMNS))})"
)


def _parse(trial_id: str, body: str) -> Record:
    try:
        return Record.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"the record of trial {trial_id} cannot be read: {error}") from error


def _parse_finding(shape: type[F], body: str) -> F:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"a finding cannot be read: {error}") from error


def _parse_capability(body: str) -> Capability:
    try:
        return Capability.model_validate_json(body)
    except ValidationError as error:
        raise StoreError(f"a capability cannot be read: {error}") from error


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema to this version, one step a transaction."""
    while (version := _version(connection)) < len(MIGRATIONS):
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have taken the step while this one waited for the lock.
            if _version(connection) == version:
                for statement in MIGRATIONS[version].split(";"):
                    connection.execute(statement)
                if version + 1 == _FIGURES_VERSION:
                    _derive(connection)
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise
    if version > len(MIGRATIONS):
        raise StoreError(
            f"was written by a newer tierlab (schema {version}, known here: {len(MIGRATIONS)})"
        )


def _derive(connection: sqlite3.Connection) -> None:
    """Make the figures of the records that have none; a record that cannot be read gets none."""
    missing = connection.execute(
        "SELECT trial_id, body FROM records"
        " WHERE trial_id NOT IN (SELECT trial_id FROM figures) ORDER BY started_at"
    )
    for trial_id, body in missing:
        with contextlib.suppress(StoreError):
            insert_figures(connection, _parse(trial_id, body))


def _roll_back(connection: sqlite3.Connection) -> None:
    # Where the disk is full SQLite has rolled back already; a second time would be an error, and
    # hide the first one.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
