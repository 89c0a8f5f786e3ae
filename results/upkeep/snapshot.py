"""A copy of somebody else's store, of which not a byte is changed."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from typing import TYPE_CHECKING
from urllib.parse import quote

from results.errors import StoreError
from results.migrations import migrate
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def snapshot(source: Path, target: Path) -> Iterator[Store]:
    """A copy of a store, brought to today's schema; errors name the original."""
    try:
        _copy(source, target)
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            try:
                migrate(connection)
            except StoreError as error:
                raise StoreError(f"{source}: {error}") from error
            yield Store(connection, source)
    except sqlite3.Error as error:
        raise StoreError(f"{source}: cannot be read: {error}") from error


def _copy(source: Path, target: Path) -> None:
    """Copy a store as it was at one moment.

    SQLite would leave files beside a store of which it is only asked to read, and fail where it
    cannot. So files are copied where nobody has the store open, which the missing `-shm` file
    tells.
    """
    journal, shared = (source.with_name(source.name + end) for end in ("-wal", "-shm"))
    if not shared.exists():
        before = _stamps(source, journal)
        shutil.copyfile(source, target)
        if journal.exists():
            shutil.copyfile(journal, target.with_name(target.name + "-wal"))
        if _stamps(source, journal) == before and not shared.exists():
            return
        target.with_name(target.name + "-wal").unlink(missing_ok=True)
        target.unlink()
    with (
        contextlib.closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as live,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _stamps(*paths: Path) -> list[tuple[int, int] | None]:
    """What changes when a file is written: size and time."""
    stats = [path.stat() if path.exists() else None for path in paths]
    return [(stat.st_size, stat.st_mtime_ns) if stat else None for stat in stats]
