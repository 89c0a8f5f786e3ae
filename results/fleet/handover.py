"""What a host hands over to its controller: bundles of all that was not confirmed yet.

A bundle is a results folder, which `results.upkeep.merge.merge` takes like any other. Its content
is noted in the host's store when it is whole. Nothing depends on what happens to it then: what is
not confirmed is part of the next bundle too, and what arrives twice is there once.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from results.capability import Capability
from results.errors import StoreError
from results.fleet.attempts import unfinished
from results.fleet.suite_tests import COLUMNS
from results.record import Record
from results.rows import insert_capability, insert_record, parse
from results.store import Store
from results.upkeep.folders import copy_evidence, is_plain

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was made.

    Attributes:
        bundle_id: what it is confirmed by.
        counts: how many there are of each kind of thing, by its name in the singular.
        left: what cannot be read, and why; it is not in the bundle.
    """

    bundle_id: str
    counts: dict[str, int] = field(default_factory=dict)
    left: tuple[str, ...] = ()


def make_bundle(store: Store, target: Path) -> Bundle:
    """Make a results folder of all that was not confirmed yet.

    Args:
        store: the host's store; its folder holds the evidence.
        target: the folder to make. Where this fails or is killed, what is there can be thrown away,
            and nothing else has changed.

    Raises:
        StoreError: the store cannot be read, or the folder not be made: it exists, or the disk is
            full.
    """
    bundle_id = uuid.uuid4().hex
    try:
        target.mkdir(parents=True)
    except OSError as error:
        raise StoreError(f"{target}: no bundle can be made here: {error.strerror}") from error
    try:
        with Store.open(target) as copy:
            packing = _Packing(store, copy)
            packing.everything()
        # Noted last: no bundle can be confirmed that is not whole.
        with store.transaction() as connection:
            connection.executemany(
                "INSERT INTO handed_over (kind, name, state, bundle_id, confirmed)"
                " VALUES (?, ?, ?, ?, 0)",
                ((*item, bundle_id) for item in packing.items),
            )
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise StoreError(f"{target}: the bundle cannot be made: {error}") from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return Bundle(
        bundle_id, dict(Counter(item.kind for item in packing.items)), tuple(packing.left)
    )


def confirm(store: Store, bundle_id: str) -> int:
    """Note that a bundle was taken up; nothing of it is handed over again. On disk when it returns.

    Returns:
        How many things were confirmed; 0 for a bundle that was confirmed already, is unknown, or
        has nothing that another one did not have.

    Raises:
        StoreError: the store cannot be written.
    """
    with store.transaction() as connection:
        connection.execute(
            "DELETE FROM handed_over WHERE confirmed = 0 AND bundle_id <> ?1 AND EXISTS"
            " (SELECT 1 FROM handed_over AS this WHERE this.bundle_id = ?1"
            " AND (this.kind, this.name, this.state)"
            " = (handed_over.kind, handed_over.name, handed_over.state))",
            (bundle_id,),
        )
        return connection.execute(
            "UPDATE handed_over SET confirmed = 1 WHERE bundle_id = ? AND confirmed = 0",
            (bundle_id,),
        ).rowcount


class _Item(NamedTuple):
    """One thing of a bundle. What changes later is another thing then, by its state."""

    kind: str
    name: str
    state: str = ""


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of thing.

    Attributes:
        called: its name.
        name: what tells one from the others, in SQL.
        state: what changes when it does, in SQL.
        select: its columns, in the order of its table.
        table: where it is.
        insert: adds one to the bundle's store, by its name and columns.
        run: whether there is a run that it belongs to, which has to be in the bundle, too.
        folder: the folder of its evidence, or none.
    """

    called: str
    table: str
    name: str
    select: str
    insert: Callable[[sqlite3.Connection, str, tuple[Any, ...]], None]
    state: str = "''"
    run: bool = False
    folder: str = ""

    @property
    def query(self) -> str:
        """What was not confirmed yet: name, state, run, and columns."""
        run = "run_id" if self.run else "NULL"
        return (
            f"SELECT {self.name}, {self.state}, {run}, {self.select} FROM {self.table}"  # noqa: S608 - our own
            f" WHERE NOT EXISTS (SELECT 1 FROM handed_over AS done WHERE done.kind = ?"
            f" AND done.name = {self.name} AND done.state = {self.state} AND done.confirmed = 1)"
        )


def _rows_into(table: str, columns: str) -> Callable[..., None]:
    """What copies a row as it is."""
    count = columns.count(",") + 1
    query = f"INSERT OR IGNORE INTO {table} ({columns}) VALUES ({', '.join('?' * count)})"  # noqa: S608 - our own

    def insert(connection: sqlite3.Connection, _name: str, values: tuple[Any, ...]) -> None:
        connection.execute(query, values)

    return insert


def _record(connection: sqlite3.Connection, trial_id: str, values: tuple[Any, ...]) -> None:
    record = parse(Record, values[0], f"the record of trial {trial_id}")
    insert_record(connection, record, values[0])


def _capability(connection: sqlite3.Connection, name: str, values: tuple[Any, ...]) -> None:
    insert_capability(connection, parse(Capability, values[0], f"capability {name}"), values[0])


_RUN: Final = "run_id, started_at, ended_at, command"
_REQUEST: Final = "request_id, run_id, requested_at, body"
_EVENT: Final = "event_id, at, kind, run_id, resource, body"
_TEST: Final = ", ".join(COLUMNS)
_FINDING: Final = "run_id, at, kind, profile, runtime, model, body"
_SUPERSEDED: Final = "trial_id, run_id, request_id, started_at, body"

_KINDS: Final = (
    _Kind("run", "runs", "run_id", _RUN, _rows_into("runs", _RUN), "coalesce(ended_at, '')"),
    _Kind(
        "request", "requests", "request_id", _REQUEST, _rows_into("requests", _REQUEST),
        "requested_at",
    ),
    _Kind("event", "events", "event_id", _EVENT, _rows_into("events", _EVENT)),
    _Kind(
        "test", "tests", "attempt_id || ' ' || node_id", _TEST, _rows_into("tests", _TEST),
        "coalesce(ended_at, '')",
    ),
    _Kind("trial", "records", "trial_id", "body", _record, run=True, folder="trials"),
    _Kind(
        "trial", "superseded", "trial_id", _SUPERSEDED, _rows_into("superseded", _SUPERSEDED),
        run=True, folder="trials",
    ),
    _Kind(
        "capability", "capabilities", "capability_id", "body", _capability, run=True,
        folder="capabilities",
    ),
    # Findings have no id; a number that SQLite gives away again comes with another time.
    _Kind(
        "finding", "findings", "CAST(rowid AS TEXT)", _FINDING, _rows_into("findings", _FINDING),
        "at", run=True,
    ),
)  # fmt: skip

# Folders of evidence that belong to a run: one below each run, and in it what each attempt left.
_OF_RUNS: Final = ("pages", "probes")


class _Packing:
    """The making of one bundle."""

    def __init__(self, store: Store, copy: Store) -> None:
        self._store = store
        self._copy = copy
        self._home = store.path.parent
        self._target = copy.path.parent
        self.items: list[_Item] = []
        self.left: list[str] = []

    def everything(self) -> None:
        """Copy rows and evidence."""
        with self._copy.transaction() as connection:
            for kind in _KINDS:
                for name, state, run_id, *values in self._store.each(kind.query, (kind.called,)):
                    if run_id is not None:
                        self._run(connection, run_id)
                    try:
                        kind.insert(connection, name, tuple(values))
                    except StoreError as error:
                        self.left.append(str(error).partition("\n")[0])
                        continue
                    self.items.append(_Item(kind.called, name, state))
                    if kind.folder:
                        self._evidence(kind.folder, name)
            for kind_of_run in _OF_RUNS:
                for run_id, name in self._parts(kind_of_run):
                    self._run(connection, run_id)
                    self._evidence(kind_of_run, run_id, name)
                    self.items.append(_Item(kind_of_run, f"{run_id}/{name}"))

    def _run(self, connection: sqlite3.Connection, run_id: str) -> None:
        """The run that something belongs to, whether or not it was confirmed."""
        for row in self._store.read(f"SELECT {_RUN} FROM runs WHERE run_id = ?", (run_id,)):  # noqa: S608 - our own
            _rows_into("runs", _RUN)(connection, run_id, row)

    def _evidence(self, kind: str, *names: str) -> None:
        if all(map(is_plain, names)):
            place = self._target / kind
            copy_evidence(self._home.joinpath(kind, *names), place.joinpath(*names), place)

    def _parts(self, kind: str) -> Iterator[tuple[str, str]]:
        """What is in the folders of runs that ended, but for attempts that may go on."""
        growing = unfinished(self._store)
        over = {run for (run,) in self._store.read("SELECT run_id FROM runs WHERE ended_at <> ''")}
        known = {
            name
            for (name,) in self._store.read(
                "SELECT name FROM handed_over WHERE kind = ? AND confirmed = 1", (kind,)
            )
        }
        for part in sorted((self._home / kind).glob("*/*")):
            run_id, name = part.parent.name, part.name
            if run_id in over and name not in growing and f"{run_id}/{name}" not in known:
                yield run_id, name
