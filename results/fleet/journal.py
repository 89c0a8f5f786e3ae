"""Journals of other programs, taken into the store: files of events, one a line as JSON.

They lie in RESULTS/journal and are appended to by a program each, which need not know the store and
never waits for it. How far a file has been read is part of the transaction that stores its events.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from results.errors import StoreError
from results.fleet.events import Event, insert_event
from results.table import plain

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

    from results.store import Store

FOLDER: Final = "journal"
"""Where journals are, in the results folder."""

MOST_BYTES: Final = 1 << 20
"""A line that is longer is none of a journal."""

# Read and stored at once; the store is locked for as long as that takes.
_PORTION_BYTES: Final = 1 << 22


@dataclass
class Absorbed:
    """What was taken from journals.

    Attributes:
        new: events that were not known.
        bad: lines that are no events: file, place, and why; each is told once.
    """

    new: int = 0
    bad: list[str] = field(default_factory=list)


def absorb(store: Store, results: Path) -> Absorbed:
    """Take what is new in the journals of a results folder; on disk when this returns.

    A line without its end is left for the next time: it may still be written.

    Args:
        store: where to.
        results: the results folder that the journals lie in.

    Raises:
        StoreError: a journal cannot be read, or the store not be written.
    """
    done = Absorbed()
    for path in sorted((results / FOLDER).glob("*.jsonl")):
        if path.is_file() and not path.is_symlink():
            try:
                while _portion(store, path, done):
                    pass
            except OSError as error:
                raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    return done


def _portion(store: Store, path: Path, done: Absorbed) -> bool:
    """Take a portion of a file; whether there was one."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        known = store.read("SELECT inode, read_bytes FROM journals WHERE name = ?", (path.name,))
        inode, start = known[0] if known else (status.st_ino, 0)
        if inode != status.st_ino or start > status.st_size:
            start = 0  # another file of that name, from its beginning
        file.seek(start)
        text = file.read(_PORTION_BYTES)
    size = text.rfind(b"\n") + 1
    if not size:
        if len(text) < _PORTION_BYTES:
            return False
        size = len(text)  # it never ends, and is no line of a journal
    place = start
    with store.transaction() as connection:
        for line in text[:size].split(b"\n"):
            if line.strip():
                _take(connection, line, f"{path.name}, byte {place}", done)
            place += len(line) + 1
        connection.execute(
            "INSERT OR REPLACE INTO journals (name, inode, read_bytes) VALUES (?, ?, ?)",
            (path.name, status.st_ino, start + size),
        )
    return True


def _take(connection: sqlite3.Connection, line: bytes, place: str, done: Absorbed) -> None:
    if len(line) > MOST_BYTES:
        done.bad.append(f"{place}: {len(line)} bytes are no line of a journal")
        return
    try:
        event = Event.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        done.bad.append(plain(f"{place}: {where + ': ' if where else ''}{first['msg']}"))
    else:
        done.new += insert_event(connection, event)
