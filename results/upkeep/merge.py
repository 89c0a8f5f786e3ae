"""The results of other hosts, taken into a store.

Only whole things are taken, and only what is not there yet: an import that was killed is completed
by the next, and one that is repeated takes nothing. The other folder is only read; what is worked
on is a copy of its store, which is brought to today's schema first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from pydantic import BaseModel

from results.capability import Capability
from results.errors import StoreError
from results.fleet.attempts import unfinished
from results.record import Record
from results.rows import (
    FINDINGS,
    Finding,
    Kept,
    insert_capability,
    insert_finding,
    insert_record,
    parse,
)
from results.store import FILE_NAME, Store
from results.upkeep.folders import copy_evidence, is_plain
from results.upkeep.maintenance import SCRATCH, exclusive
from results.upkeep.merge_fleet import merge_fleet
from results.upkeep.snapshot import snapshot

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Iterator

M = TypeVar("M", bound=BaseModel)

# Some 10 kB each; one commit to the disk a portion.
_PORTION: Final = 100


@dataclass
class Merged:
    """What an import took from one other folder.

    Attributes:
        runs: runs that were not known.
        records: trials that were not known.
        superseded: trials that were not known, and are set aside: their requests are fulfilled.
        findings: claims and response times that were not known.
        capabilities: capabilities that were not known.
        requests: requested trials that were not known.
        events: lines of the journal that were not known.
        tests: tests of the suites that were not known, or not how they ended.
        known: trials and capabilities that were there already, and the same.
        folders: folders of raw evidence that were copied.
        copied_bytes: their size.
        conflicts: trials and capabilities that are another here; nothing was overwritten.
        unreadable: what does not follow the schema, with the reason; it was not taken.
    """

    runs: int = 0
    records: int = 0
    superseded: int = 0
    findings: int = 0
    capabilities: int = 0
    requests: int = 0
    events: int = 0
    tests: int = 0
    known: int = 0
    folders: int = 0
    copied_bytes: int = 0
    conflicts: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether everything of the other folder is here now."""
        return not self.conflicts and not self.unreadable


def merge(
    store: Store,
    other: Path,
    *,
    files: bool = True,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Merged:
    """Take everything that is not here yet from another results folder.

    Args:
        store: where to.
        other: the other results folder; not a byte of it is changed.
        files: copy the raw evidence too.
        progress: told how many trials have been looked at, and of how many.

    Raises:
        StoreError: there is no store, it is damaged, this one, or newer than this code, or the disk
            is full.
    """
    source = other / FILE_NAME
    home = store.path.parent
    if not source.is_file():
        raise StoreError(f"{other}: there is no {FILE_NAME} here\n  -> name a results folder")
    if source.samefile(store.path):
        raise StoreError(f"{other}: is the results folder that would be imported into")
    with exclusive(home):
        try:
            with (
                tempfile.TemporaryDirectory(dir=home, prefix=f"{SCRATCH}import-") as scratch,
                snapshot(source, Path(scratch) / FILE_NAME) as copy,
            ):
                return _Merge(store, copy, files=files).everything(progress)
        except OSError as error:
            raise StoreError(f"{home}: cannot import {other}: {error}") from error


class _Row(NamedTuple):
    """A row of the other store: its id, and its body."""

    name: str
    body: str


@dataclass(frozen=True, slots=True)
class _Kind(Generic[M]):
    """What has an id, a body and a folder of evidence: trials and capabilities.

    Attributes:
        called: what one is called in a message.
        tables: where they may be; the same id is in one of them only. Taken from the first.
        key: the column of its id.
        folder: where the folders of evidence are, in the results folder.
        shape: what a body holds.
        place: id and run, as a body says.
        insert: adds one with its body, and says what became of it.
    """

    called: str
    tables: tuple[str, ...]
    key: str
    folder: str
    shape: type[M]
    place: Callable[[M], tuple[str, str]]
    insert: Callable[[sqlite3.Connection, M, str], Kept]


_TRIALS: Final = _Kind(
    called="trial",
    tables=("records", "superseded"),
    key="trial_id",
    folder="trials",
    shape=Record,
    place=lambda record: (record.trial_id, record.run_id),
    insert=insert_record,
)
# Whether it is set aside here as well follows from what fulfils its request here.
_SUPERSEDED: Final = dataclasses.replace(_TRIALS, tables=("superseded", "records"))
_CAPABILITIES: Final = _Kind(
    called="capability",
    tables=("capabilities",),
    key="capability_id",
    folder="capabilities",
    shape=Capability,
    place=lambda capability: (capability.capability_id, capability.run_id),
    insert=lambda connection, found, body: (
        Kept.COUNTED if insert_capability(connection, found, body) else Kept.KNOWN
    ),
)


_JOIN_RUNS: Final = (
    "INSERT INTO runs (run_id, started_at, ended_at, command) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (run_id) DO UPDATE SET"
    " command = CASE WHEN (excluded.started_at, excluded.command) < (started_at, command)"
    " THEN excluded.command ELSE command END,"
    " started_at = min(started_at, excluded.started_at),"
    " ended_at = max(coalesce(ended_at, excluded.ended_at), coalesce(excluded.ended_at, ended_at))"
)


class _Merge:
    """One import."""

    def __init__(self, store: Store, other: Store, *, files: bool) -> None:
        self._store = store
        self._other = other
        self._files = files
        self._done = Merged()

    def everything(self, progress: Callable[[int, int], None]) -> Merged:
        ((total,),) = self._other.read(
            "SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM superseded)"
        )
        seen = 0
        growing = unfinished(self._other)
        progress(0, total)
        for run in self._other.read(
            "SELECT run_id, started_at, ended_at, command FROM runs ORDER BY started_at, run_id"
        ):
            run_id, _, ended_at, _ = run
            self._run(run)
            for kind in (_TRIALS, _SUPERSEDED):
                for rows in self._portions(kind, run_id):
                    kept = self._take(kind, run_id, rows)
                    self._done.records += kept.count(Kept.COUNTED)
                    self._done.superseded += kept.count(Kept.SUPERSEDED)
                    seen += len(rows)
                    progress(seen, total)
            for rows in self._portions(_CAPABILITIES, run_id):
                kept = self._take(_CAPABILITIES, run_id, rows)
                self._done.capabilities += kept.count(Kept.COUNTED)
            self._findings(run_id)
            if ended_at:  # while it goes on, its folders grow
                self._evidence_of_run("pages", run_id, growing)
                self._evidence_of_run("probes", run_id, growing)
        if seen < total:
            self._done.unreadable.append(
                f"{total - seen} trials belong to no run; `tierlab store check --repair` on their"
                " host mends that"
            )
        taken = merge_fleet(self._store, self._other)
        self._done.requests += taken.requests
        self._done.events += taken.events
        self._done.tests += taken.tests
        self._done.conflicts += taken.conflicts
        self._done.unreadable += taken.unreadable
        return self._done

    def _run(self, run: tuple[str, str, str | None, str]) -> None:
        """A run that several hosts had a part in began with the first and ended with the last."""
        with self._store.transaction() as connection:
            query = "SELECT 1 FROM runs WHERE run_id = ?"
            self._done.runs += connection.execute(query, run[:1]).fetchone() is None
            connection.execute(_JOIN_RUNS, run)

    def _portions(self, kind: _Kind[M], run_id: str) -> Iterator[list[_Row]]:
        query = (
            f"SELECT {kind.key}, body FROM {kind.tables[0]}"  # noqa: S608 - our own
            " WHERE run_id = ? ORDER BY started_at, rowid"
        )
        rows = map(_Row._make, self._other.each(query, (run_id,)))
        while portion := list(itertools.islice(rows, _PORTION)):
            yield portion

    def _take(self, kind: _Kind[M], run_id: str, rows: list[_Row]) -> list[Kept]:
        """Take what is new of some rows, with its evidence; what became of it."""
        new: list[tuple[M, str]] = []
        names = []
        for row in rows:
            with self._reported():
                if (found := self._new(kind, run_id, row)) is not None:
                    new.append((found, row.body))
                names.append(row.name)
        # First the evidence: a record does not appear without it.
        self._evidence(kind.folder, names)
        with self._store.transaction() as connection:
            return [kind.insert(connection, found, body) for found, body in new]

    def _new(self, kind: _Kind[M], run_id: str, row: _Row) -> M | None:
        """What a row holds, or `None` where the same is here already, or another of that id.

        Raises:
            StoreError: it cannot be read, or is not what it is filed as.
        """
        for table in kind.tables:
            query = f"SELECT body FROM {table} WHERE {kind.key} = ?"  # noqa: S608 - our own
            for (here,) in self._store.read(query, (row.name,)):
                if here == row.body or _says_the_same(here, row.body, kind.shape):
                    self._done.known += 1
                else:
                    self._done.conflicts.append(
                        f"{kind.called} {row.name} is another one here; it was left"
                    )
                return None
        found = parse(kind.shape, row.body, f"{kind.called} {row.name}")
        _same(kind.place(found), (row.name, run_id))
        return found

    def _findings(self, run_id: str) -> None:
        """Findings have no id: one that says the same at the same time is the same."""
        found: list[tuple[Finding, str]] = []
        for kind, body in self._other.read(
            "SELECT kind, body FROM findings WHERE run_id = ? ORDER BY at, rowid", (run_id,)
        ):
            with self._reported():
                if kind not in FINDINGS:
                    raise StoreError(f"a finding of run {run_id}: {kind!r} is not known here")
                finding = parse(FINDINGS[kind], body, f"a finding of run {run_id}")
                _same((finding.kind, finding.run_id), (kind, run_id))
                found.append((finding, body))
        with self._store.transaction() as connection:
            for finding, body in found:
                if not connection.execute(
                    "SELECT 1 FROM findings WHERE run_id = ? AND kind = ? AND body = ?",
                    (finding.run_id, finding.kind, body),
                ).fetchone():
                    insert_finding(connection, finding, body)
                    self._done.findings += 1

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            self._done.unreadable.append(str(error))

    def _evidence(self, kind: str, names: Iterable[str]) -> None:
        """Copy the folders that are not here. That of a pruned trial comes back with it."""
        for name in names:
            self._copy(kind, name)

    def _evidence_of_run(self, kind: str, run_id: str, growing: Collection[str]) -> None:
        """Copy what is not here of a run's folder: other hosts may have had a part in it, too.

        What belongs to an attempt without an end is left: it may still grow.
        """
        folder = self._other.path.parent / kind / run_id
        if is_plain(run_id) and folder.is_dir() and not folder.is_symlink():
            for path in sorted(folder.iterdir()):
                if path.name not in growing:
                    self._copy(kind, run_id, path.name)

    def _copy(self, kind: str, *names: str) -> None:
        if not self._files or not all(map(is_plain, names)):
            return
        place = self._store.path.parent / kind
        size = copy_evidence(
            self._other.path.parent.joinpath(kind, *names), place.joinpath(*names), place
        )
        if size is not None:
            self._done.folders += 1
            self._done.copied_bytes += size


def _same(inside: tuple[str, str], outside: tuple[str, str]) -> None:
    """A body must be what it is filed as."""
    if inside != outside:
        raise StoreError(f"{' of run '.join(outside)} holds {' of run '.join(inside)}")


def _says_the_same(one: str, other: str, shape: type[BaseModel]) -> bool:
    """Whether two texts are one record, perhaps written by two versions of this code."""
    try:
        return _as_today(one, shape) == _as_today(other, shape)
    except StoreError:
        return False


def _as_today(body: str, shape: type[BaseModel]) -> str:
    return parse(shape, body, "").model_dump_json()
