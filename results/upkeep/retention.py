"""Old results removed: raw evidence, or records with all that follows from them.

What still waits to be sent, or on a host of a fleet to be handed over, is kept, evidence and all,
unless it is asked for. Nothing outside the
results folder is touched: folders are opened without following links, and what is a link is left.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from results.errors import StoreError
from results.figures import moment
from results.fleet.confirmed import GONE, hands_over, is_confirmed
from results.upkeep.maintenance import EVIDENCE, SCRATCH, exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from results.store import Store

# Deleted in one transaction: a run that goes on does not wait for long.
_PORTION: Final = 500

LEAST_AGE: Final = timedelta(days=1)
"""What is younger may belong to a run that goes on: evidence is there before its record."""

# Which row a folder of evidence belongs to, and when that began.
_OWNERS: Final = {
    "trials": "SELECT started_at FROM records WHERE trial_id = ?1"
    " UNION ALL SELECT started_at FROM superseded WHERE trial_id = ?1",
    "capabilities": "SELECT started_at FROM capabilities WHERE capability_id = ?",
    "pages": "SELECT started_at FROM runs WHERE run_id = ?",
    "probes": "SELECT started_at FROM runs WHERE run_id = ?",
}


@dataclass
class Pruned:
    """What was removed, or would be.

    Attributes:
        records: trials, with their figures.
        superseded: trials that were set aside.
        capabilities: capabilities.
        findings: claims and response times.
        folders: folders of raw evidence.
        orphans: how many of them belonged to nothing.
        freed_bytes: their size.
        waiting: trials that are old enough and were kept: they wait to be sent or handed over.
        hands_over: whether this is a host's store, which is handed over to a controller.
        links: what is a link and was left alone.
    """

    records: int = 0
    superseded: int = 0
    capabilities: int = 0
    findings: int = 0
    folders: int = 0
    orphans: int = 0
    freed_bytes: int = 0
    waiting: int = 0
    hands_over: bool = False
    links: list[str] = field(default_factory=list)


def prune(
    store: Store,
    before: datetime,
    *,
    files_only: bool = False,
    unsent: bool = False,
    dry_run: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Remove what began before a time.

    Args:
        store: the store; its folder holds the evidence.
        before: the time; `LEAST_AGE` ago or earlier.
        files_only: raw evidence only; records, figures and findings stay.
        unsent: also trials that still wait to be sent.
        dry_run: change nothing.
        progress: told in words what is going on.

    Returns:
        What was removed, or with `dry_run` would be.

    Raises:
        StoreError: the store cannot be read or written, somebody else works on the folder, or a
            folder cannot be removed.
        ValueError: the time is too near.
    """
    if before > datetime.now(UTC) - LEAST_AGE:
        raise ValueError(f"{before} is less than {LEAST_AGE} ago")
    with exclusive(store.path.parent):
        return _Pruning(store, before, unsent=unsent, dry_run=dry_run).everything(
            files_only=files_only, progress=progress
        )


class _Folder(NamedTuple):
    """A folder of evidence that has to go."""

    kind: str
    name: str
    size: int


class _Pruning:
    """One pruning."""

    def __init__(self, store: Store, before: datetime, *, unsent: bool, dry_run: bool) -> None:
        self._store = store
        self._before = moment(before)
        self._before_seconds = before.timestamp()
        self._unsent = unsent
        self._dry_run = dry_run
        self._done = Pruned()
        # Such a host leaves the sending to its controller.
        self._done.hands_over = hands_over(store)

    def everything(self, *, files_only: bool, progress: Callable[[str], None]) -> Pruned:
        # Chosen before the rows go, which tell how old a folder is. Killed in between, the next
        # pruning finds folders that belong to nothing.
        progress("looking for old evidence")
        folders = list(self._old_folders())
        self._done.folders = len(folders)
        self._done.freed_bytes = sum(folder.size for folder in folders)
        if files_only:
            self._done.waiting = sum(
                len(waiting)
                for table in ("records", "superseded")
                for _, waiting in self._old_trials(table)
            )
        else:
            progress("removing old records")
            self._remove_rows()
        if not self._dry_run:
            progress("removing old evidence")
            for kind, chosen in itertools.groupby(folders, key=lambda folder: folder.kind):
                with _opened(self._store.path.parent / kind) as descriptor:
                    for folder in chosen:
                        _remove(folder.name, descriptor, self._store.path.parent / kind)
        return self._done

    # ---- evidence ----

    def _old_folders(self) -> Iterator[_Folder]:
        for kind in EVIDENCE:
            place = self._store.path.parent / kind
            if place.is_symlink():
                self._done.links.append(kind)
            elif place.is_dir():
                with _opened(place) as descriptor, os.scandir(descriptor) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            self._done.links.append(f"{kind}/{entry.name}")
                        elif entry.is_dir(follow_symlinks=False) and self._is_old(
                            kind, entry.name, descriptor
                        ):
                            yield _Folder(kind, entry.name, _size(entry.name, descriptor))

    def _is_old(self, kind: str, name: str, place: int) -> bool:
        began = self._store.read(_OWNERS[kind], (name,))
        if not began:
            orphaned = _newest(name, place) < self._before_seconds
            self._done.orphans += orphaned
            return orphaned
        return bool(began[0][0] < self._before) and not (kind == "trials" and self._waits(name))

    def _waits(self, trial_id: str) -> bool:
        if self._unsent:
            return False
        if self._done.hands_over:
            return not is_confirmed(self._store, trial_id)
        return bool(self._store.read("SELECT 1 FROM outbox WHERE trial_id = ?", (trial_id,)))

    # ---- rows ----

    def _remove_rows(self) -> None:
        for table in ("records", "superseded"):
            for old, waiting in self._old_trials(table):
                self._done.waiting += len(waiting)
                if table == "records":
                    self._done.records += len(old)
                else:
                    self._done.superseded += len(old)
                for start in range(0, len(old), _PORTION):
                    self._delete_trials(table, old[start : start + _PORTION])
        self._done.capabilities = self._delete("capabilities", "started_at < ?", self._before)
        self._done.findings = self._delete("findings", "at < ?", self._before)
        for table, time in (("requests", "requested_at"), ("tests", "requested_at")):
            self._delete(table, f"{time} < ? AND {_of_no_trial(table)}", self._before)
        self._delete("events", f"at < ? AND {_of_no_trial('events')}", self._before)
        self._delete("runs", f"started_at < ? AND {_WITHOUT_ROWS}", self._before)
        self._delete("cells", _WITHOUT_FIGURES)
        self._delete("handed_over", GONE)

    def _old_trials(self, table: str) -> Iterator[tuple[list[str], list[str]]]:
        """Run by run, the old trials that may go, and those that wait."""
        query = f"SELECT trial_id FROM {table} WHERE run_id = ? AND started_at < ?"  # noqa: S608 - our own
        for (run_id,) in self._store.read("SELECT run_id FROM runs"):
            names = [name for (name,) in self._store.read(query, (run_id, self._before))]
            waiting = [name for name in names if self._waits(name)]
            yield sorted({*names} - {*waiting}), waiting

    def _delete_trials(self, table: str, names: list[str]) -> None:
        if not self._dry_run:
            query = f"DELETE FROM {table} WHERE trial_id = ?"  # noqa: S608 - our own
            with self._store.transaction() as connection:
                connection.executemany(query, ((name,) for name in names))

    def _delete(self, table: str, where: str, *values: str) -> int:
        """Delete rows, and say how many; or with `dry_run` only say."""
        if self._dry_run:
            query = f"SELECT count(*) FROM {table} WHERE {where}"  # noqa: S608 - our own
            return int(self._store.read(query, values)[0][0])
        with self._store.transaction() as connection:
            query = f"DELETE FROM {table} WHERE {where}"  # noqa: S608 - our own
            return connection.execute(query, values).rowcount


def _of_no_trial(table: str) -> str:
    """That the run of a row has no trials any more: its story is kept as long as one of them."""
    return " AND ".join(
        f"NOT EXISTS (SELECT 1 FROM {trials} WHERE {trials}.run_id = {table}.run_id)"  # noqa: S608 - our own
        for trials in ("records", "superseded")
    )


_WITHOUT_ROWS: Final = " AND ".join(
    f"NOT EXISTS (SELECT 1 FROM {table} WHERE {table}.run_id = runs.run_id)"  # noqa: S608 - our own
    for table in ("records", "superseded", "findings", "capabilities", "requests", "tests")
)
_WITHOUT_FIGURES: Final = "NOT EXISTS (SELECT 1 FROM figures WHERE figures.cell_id = cells.cell_id)"


# ---- folders, by descriptor: a link put in the way meanwhile is not followed ----


@contextlib.contextmanager
def _opened(place: Path) -> Iterator[int]:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise StoreError(f"{place}: cannot be opened: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(name: str, descriptor: int, place: Path) -> None:
    """Remove a folder; nobody finds a part of it under its name."""
    aside = f"{SCRATCH}removed-{secrets.token_hex(8)}"
    try:
        os.rename(name, aside, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        shutil.rmtree(aside, dir_fd=descriptor)
    except OSError as error:
        raise StoreError(f"{place / name}: cannot be removed: {error.strerror}") from error


def _stats(name: str, descriptor: int) -> Iterator[os.stat_result]:
    for _, _, files, place in os.fwalk(name, dir_fd=descriptor):
        yield os.fstat(place)
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                yield os.stat(file, dir_fd=place, follow_symlinks=False)


def _size(name: str, descriptor: int) -> int:
    return sum(stat.st_blocks * 512 for stat in _stats(name, descriptor))


def _newest(name: str, descriptor: int) -> float:
    return max((stat.st_mtime for stat in _stats(name, descriptor)), default=0.0)
