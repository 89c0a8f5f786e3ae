"""The embedded store: one SQLite file that several processes write to at once.

WAL with `synchronous=FULL`, and one `BEGIN IMMEDIATE` transaction a record: a record is on disk
before the next trial begins, and `kill -9` leaves whole records only. Never put it on a network
file system: SQLite's locks do not hold there.
"""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from results.capability import Capability
from results.claims import Outcome
from results.errors import StoreError
from results.migrations import migrate, roll_back
from results.response import Response
from results.rows import (
    Kept,
    insert_capability,
    insert_finding,
    insert_record,
    parse,
    parse_record,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from results.record import Record

__all__ = ["BUSY_MILLISECONDS", "FILE_NAME", "Kept", "Store", "StoreError"]

FILE_NAME: Final = "store.sqlite3"

# Another process's transaction lasts milliseconds; a minute of waiting means that it is stuck.
BUSY_MILLISECONDS: Final = 60_000


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
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
            connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
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
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO runs (run_id, started_at, command) VALUES (?, ?, ?)",
                (run_id, datetime.now(UTC).isoformat(), command),
            )

    def finish_run(self, run_id: str) -> None:
        """Note that a run ended in order; a run that was killed has no end.

        A run that went on after an end, on this host or with another attempt, ends again.
        """
        with self.transaction() as connection:
            connection.execute(
                "UPDATE runs SET ended_at = ? WHERE run_id = ?",
                (datetime.now(UTC).isoformat(), run_id),
            )

    def add(self, record: Record) -> Kept:
        """Store a record; it is on disk when this returns. The same trial is stored once.

        Its figures and its place in the outbox are part of the same transaction.

        Returns:
            What became of it: another one may fulfil the same request already.
        """
        with self.transaction() as connection:
            return insert_record(connection, record)

    def records(self, *, run_id: str | None = None) -> list[Record]:
        """The records of one run, or all of them, oldest first.

        Raises:
            StoreError: a record does not follow the schema of this version.
        """
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.each(
            f"SELECT trial_id, body FROM records {where} ORDER BY started_at, trial_id",  # noqa: S608
            values,
        )
        return [parse_record(trial_id, body) for trial_id, body in rows]

    def add_finding(self, finding: Outcome | Response) -> None:
        """Store what follows from several trials; it is on disk when this returns."""
        with self.transaction() as connection:
            insert_finding(connection, finding)

    def outcomes(self, *, run_id: str) -> list[Outcome]:
        """The claims that a run held against its trials, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        return [parse(Outcome, body, "a finding") for body in self._findings("claim", run_id)]

    def responses(self, *, run_id: str) -> list[Response]:
        """The response times that a run found, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        return [parse(Response, body, "a finding") for body in self._findings("response", run_id)]

    def _findings(self, kind: str, run_id: str) -> list[str]:
        rows = self.read(
            "SELECT body FROM findings WHERE run_id = ? AND kind = ? ORDER BY at, rowid",
            (run_id, kind),
        )
        return [body for (body,) in rows]

    def add_capability(self, capability: Capability) -> None:
        """Store a capability; it is on disk when this returns. The same one is stored once."""
        with self.transaction() as connection:
            insert_capability(connection, capability)

    def capabilities(self, *, run_id: str | None = None) -> list[Capability]:
        """The capabilities of one run, or all of them, oldest first.

        Raises:
            StoreError: one does not follow the schema of this version.
        """
        where, values = ("WHERE run_id = ?", (run_id,)) if run_id else ("", ())
        rows = self.read(
            f"SELECT body FROM capabilities {where} ORDER BY started_at, rowid",  # noqa: S608
            values,
        )
        return [parse(Capability, body, "a capability") for (body,) in rows]

    def latest_run(self) -> str | None:
        """The id of the run that began last."""
        rows = self.read("SELECT run_id FROM runs ORDER BY started_at DESC, rowid DESC LIMIT 1")
        return rows[0][0] if rows else None

    def record(self, trial_id: str) -> Record | None:
        """The record of one trial, or `None`.

        Raises:
            StoreError: it does not follow the schema of this version.
        """
        body = self.body(trial_id)
        return None if body is None else parse_record(trial_id, body)

    def body(self, trial_id: str) -> str | None:
        """The record of one trial as the JSON it is kept as, or `None`."""
        rows = self.read("SELECT body FROM records WHERE trial_id = ?", (trial_id,))
        return str(rows[0][0]) if rows else None

    def free_bytes(self) -> int:
        """How much of the file is free for new rows."""
        ((pages,),), ((size,),) = self.read("PRAGMA freelist_count"), self.read("PRAGMA page_size")
        return int(pages * size)

    def compact(self) -> None:
        """Give what is free in the file back to the disk.

        Writes the whole file anew: it needs as much room again meanwhile, and others wait.

        Raises:
            StoreError: the disk is full, or another process keeps the store busy.
        """
        try:
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be compacted: {error}") from error

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. For the modules of this package, which know the schema."""
        return list(self.each(query, values))

    def each(self, query: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one after the other and never all in memory."""
        try:
            cursor = self._connection.execute(query, values)
            with contextlib.closing(cursor):
                yield from cursor
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on disk when its block ends, and undone when the block fails."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                roll_back(self._connection)
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}") from error
