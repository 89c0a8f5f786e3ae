"""Whether a store holds together, and what can be mended of it.

Bodies are what was measured, and are never changed or deleted. All else follows from them: columns,
figures and cells are made anew from the bodies, and what points to nothing goes.
"""

from __future__ import annotations

import contextlib
import stat
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from results.capability import Capability
from results.errors import StoreError
from results.figures import COLUMNS, CellKey, Figures, cell_text, parse_cell
from results.fleet.requests import fulfilled
from results.rows import (
    FINDINGS,
    RECORD_COLUMNS,
    insert_figures,
    parse,
    parse_record,
    record_columns,
)
from results.upkeep.integrity_fleet import fleet_problems
from results.upkeep.maintenance import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from results.record import Record
    from results.store import Store

# Read, and where need be mended, at once.
_PORTION: Final = 200


class Problem(NamedTuple):
    """Something that is wrong, and whether it is no longer."""

    text: str
    mended: bool = False


@dataclass
class Report:
    """What a check found.

    Attributes:
        records: how many were read.
        problems: all that is wrong.
        without_evidence: trials and capabilities whose folder of evidence is not here: pruned, or
            imported without files. No problem.
    """

    records: int = 0
    problems: list[Problem] = field(default_factory=list)
    without_evidence: int = 0

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong, or no longer."""
        return all(problem.mended for problem in self.problems)


def check(
    store: Store,
    *,
    repair: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report:
    """Look at everything in a store, and at the evidence beside it.

    Args:
        store: the store.
        repair: mend what follows from the bodies. Nobody else may work on the folder then.
        progress: told how many records have been read, and of how many.

    Raises:
        StoreError: the store cannot be read or written at all.
    """
    if not repair:
        return _Check(store, repair=False).everything(progress)
    with exclusive(store.path.parent):
        return _Check(store, repair=True).everything(progress)


class _Row(NamedTuple):
    """A record with all that should follow from it."""

    trial_id: str
    columns: tuple[Any, ...]
    body: str
    cell: str | None
    figures: tuple[Any, ...]


class _Check:
    """One check."""

    def __init__(self, store: Store, *, repair: bool) -> None:
        self._store = store
        self._repair = repair
        self._report = Report()

    def everything(self, progress: Callable[[int, int], None]) -> Report:
        # What follows would be guesses about a file whose pages are damaged.
        if self._pages():
            self._references()
            self._records(progress)
            self._cells()
            self._findings()
            self._capabilities()
            self._fleet()
        return self._report

    # ---- the file ----

    def _pages(self) -> bool:
        """SQLite's own check; whether the file can be worked on."""
        damage = self._damage()
        if not damage:
            return True
        mended = self._repair and self._reindex() and not self._damage()
        self._found(
            f"the file is damaged: {'; '.join(damage)}"
            + ("" if mended else "; take a copy from before, or import what other hosts have"),
            mended=mended,
        )
        return mended

    def _damage(self) -> list[str]:
        try:
            rows = [str(row) for (row,) in self._store.read("PRAGMA integrity_check(10)")]
        except StoreError as error:
            return [str(error)]
        return [] if rows == ["ok"] else rows

    def _reindex(self) -> bool:
        """Make the indexes anew, which helps where only they are damaged."""
        try:
            self._write([("REINDEX", ())])
        except StoreError:
            return False
        return True

    def _references(self) -> None:
        """Rows that point to nothing."""
        found: dict[tuple[str, str], int] = {}
        for table, _, parent, _ in self._store.read("PRAGMA foreign_key_check"):
            found[table, parent] = found.get((table, parent), 0) + 1
        for (table, parent), count in found.items():
            mend = _MENDS.get((table, parent))
            if self._repair and mend:
                self._write([(mend, ())])
            what = "1 row" if count == 1 else f"{count} rows"
            self._found(
                f"{what} of {table} without their {parent}", mended=self._repair and bool(mend)
            )

    # ---- records and figures ----

    def _records(self, progress: Callable[[int, int], None]) -> None:
        ((total,),) = self._store.read("SELECT count(*) FROM records")
        query, last = _records_query(">="), ""
        progress(0, total)
        while rows := [_row(row) for row in self._store.read(query, (last,))]:
            query, last = _records_query(">"), rows[-1].trial_id
            statements = [one for row in rows for one in self._record(row)]
            if self._repair:
                self._mend(statements)
            self._report.records += len(rows)
            progress(self._report.records, total)

    def _record(self, row: _Row) -> Iterator[Record | tuple[str, tuple[Any, ...]]]:
        """What mends a record: statements, and the record itself where it needs figures."""
        called = f"trial {row.trial_id}"
        try:
            record = parse_record(row.trial_id, row.body)
        except StoreError as error:
            self._found(_first_line(error))
            return
        if record.trial_id != row.trial_id:
            self._found(f"{called} holds the record of {record.trial_id}")
            return
        columns = record_columns(record)
        if row.columns != columns and not self._fulfilled_by_another(record):
            names = ", ".join(
                name
                for name, is_, should in zip(RECORD_COLUMNS, row.columns, columns, strict=True)
                if is_ != should
            )
            self._found(f"{called}: its columns differ from its body: {names}", mended=self._repair)
            yield _SET_COLUMNS, (*columns, row.trial_id)
        if row.cell is None:
            self._found(f"{called} has no figures", mended=self._repair)
            yield record
        elif row.cell != cell_text(CellKey.of(record)) or row.figures != tuple(Figures.of(record)):
            self._found(f"{called}: its figures differ from its body", mended=self._repair)
            yield "DELETE FROM figures WHERE trial_id = ?", (row.trial_id,)
            yield record
        self._evidence(called, "trials", row.trial_id, record.files)

    def _fulfilled_by_another(self, record: Record) -> bool:
        """Whether two records count for one request: which one does is not for a repair to say."""
        if record.lineage is None or not record.states:
            return False
        other = fulfilled(self._store, record.lineage.request_id)
        if other is None or other.trial_id == record.trial_id:
            return False
        self._found(f"trial {record.trial_id}: {other.trial_id} fulfils its request already")
        return True

    def _mend(self, statements: Iterable[Record | tuple[str, tuple[Any, ...]]]) -> None:
        todo = list(statements)
        if todo:
            with self._store.transaction() as connection:
                for one in todo:
                    if isinstance(one, tuple):
                        connection.execute(*one)
                    else:
                        insert_figures(connection, one)

    def _cells(self) -> None:
        """Cells that no trial has any more are no problem; those that cannot be read are."""
        for cell_id, key in self._store.read("SELECT cell_id, key FROM cells"):
            try:
                parse_cell(key)
            except ValueError as error:
                self._found(str(error), mended=self._repair)
                if self._repair:
                    self._write([("DELETE FROM cells WHERE cell_id = ?", (cell_id,))])

    # ---- the rest ----

    def _findings(self) -> None:
        for kind, body in self._store.each("SELECT kind, body FROM findings"):
            if kind not in FINDINGS:
                self._found(f"a finding of kind {kind!r} is not known")
                continue
            try:
                parse(FINDINGS[kind], body, f"a finding of kind {kind!r}")
            except StoreError as error:
                self._found(_first_line(error))

    def _capabilities(self) -> None:
        for name, body in self._store.each("SELECT capability_id, body FROM capabilities"):
            try:
                found = parse(Capability, body, f"capability {name}")
            except StoreError as error:
                self._found(_first_line(error))
                continue
            self._evidence(f"capability {name}", "capabilities", name, found.files)

    def _fleet(self) -> None:
        """What was set aside, and the story of the runs."""
        for text in fleet_problems(self._store):
            self._found(text)
        for trial_id, body in self._store.each("SELECT trial_id, body FROM superseded"):
            with contextlib.suppress(StoreError):  # told already
                files = parse_record(trial_id, body).files
                self._evidence(f"trial {trial_id}", "trials", trial_id, files)

    def _evidence(self, called: str, kind: str, name: str, files: Mapping[str, str]) -> None:
        """Whether the files that a body names are there, and in its own folder."""
        folder = PurePosixPath(kind, name)
        missing = []
        for file in files.values():
            path = PurePosixPath(file)
            if ".." in path.parts or not path.is_relative_to(folder):
                self._found(f"{called} names evidence outside of its folder: {file}")
                return
            if not _is_file(self._store.path.parent / path):
                missing.append(file)
        if missing and not (self._store.path.parent / folder).is_dir():
            self._report.without_evidence += 1
        elif missing:
            self._found(f"{called}: evidence is missing: {', '.join(missing)}")

    def _found(self, text: str, *, mended: bool = False) -> None:
        self._report.problems.append(Problem(text, mended))

    def _write(self, statements: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        with self._store.transaction() as connection:
            for statement in statements:
                connection.execute(*statement)


def _first_line(error: StoreError) -> str:
    return str(error).partition("\n")[0]


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


_RECORD_FIELDS: Final = ", ".join(f"records.{name}" for name in RECORD_COLUMNS)
_FIGURE_FIELDS: Final = ", ".join(f"figures.{name}" for name in COLUMNS)
_SET_COLUMNS: Final = (
    f"UPDATE records SET {', '.join(f'{name} = ?' for name in RECORD_COLUMNS)}"  # noqa: S608 - our own
    " WHERE trial_id = ?"
)


def _records_query(compared: str) -> str:
    """The next records after an id, each with its figures."""
    return (
        f"SELECT records.trial_id, {_RECORD_FIELDS}, body, key, {_FIGURE_FIELDS}"  # noqa: S608 - our own
        " FROM records LEFT JOIN figures ON figures.trial_id = records.trial_id"
        " LEFT JOIN cells USING (cell_id)"
        f" WHERE records.trial_id {compared} ? ORDER BY records.trial_id LIMIT {_PORTION}"
    )


def _row(values: tuple[Any, ...]) -> _Row:
    body = 1 + len(RECORD_COLUMNS)
    return _Row(values[0], values[1:body], values[body], values[body + 1], values[body + 2 :])


def _make_runs(table: str, time: str) -> str:
    """A statement that gives rows without a run one that nothing is known of."""
    return (
        "INSERT OR IGNORE INTO runs (run_id, started_at, command)"  # noqa: S608 - our own
        f" SELECT run_id, min({time}), '(unknown)' FROM {table} GROUP BY run_id"
    )


_MENDS: Final = {
    ("records", "runs"): _make_runs("records", "started_at"),
    ("superseded", "runs"): _make_runs("superseded", "started_at"),
    ("findings", "runs"): _make_runs("findings", "at"),
    ("capabilities", "runs"): _make_runs("capabilities", "started_at"),
    ("figures", "records"): "DELETE FROM figures"
    " WHERE NOT EXISTS (SELECT 1 FROM records WHERE records.trial_id = figures.trial_id)",
    ("outbox", "records"): "DELETE FROM outbox"
    " WHERE NOT EXISTS (SELECT 1 FROM records WHERE records.trial_id = outbox.trial_id)",
    # Their records have no figures then, and get new ones.
    ("figures", "cells"): "DELETE FROM figures"
    " WHERE NOT EXISTS (SELECT 1 FROM cells WHERE cells.cell_id = figures.cell_id)",
}
