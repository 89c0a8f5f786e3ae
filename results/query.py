"""What the matrix, the regressions and the site ask of the store: figures, cell by cell.

A cell's rows lie together in the file, by time, so that the newest trials of a cell are one short
read, however many there are. Each cell is read at one moment; a run that goes on meanwhile may
appear in the later ones. Do not write through the same store while one of these iterators is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from results.errors import StoreError
from results.figures import COLUMNS, CellKey, Figures, moment, parse_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from results.store import Store

NO_STATEMENT: Final = ("infra", "cascade")
"""Verdicts that say nothing of the device."""

_COLUMNS: Final = ", ".join(COLUMNS)
_OF_DEVICE: Final = f"verdict NOT IN {NO_STATEMENT}"


class Trial(NamedTuple):
    """One trial: where it belongs, and its figures."""

    cell: CellKey
    figures: Figures


def cells(store: Store) -> list[CellKey]:
    """All cells that ever had a trial, in order."""
    return [cell for cell, _ in _cells(store)]


def figures(
    store: Store,
    *,
    run_id: str | None = None,
    profile: str | None = None,
    model: str | None = None,
    quantisation: str | None = None,
    runtime: str | None = None,
    since: datetime | None = None,
    of_device: bool = False,
    limit: int | None = None,
) -> Iterator[Trial]:
    """The trials to which all that is given applies: cell by cell, the newest of each first.

    Args:
        store: where they are.
        run_id: of this run only.
        profile: of this device profile only.
        model: of this model only.
        quantisation: of this one only.
        runtime: of this one only.
        since: those that began then or later; a time with its zone.
        of_device: leave out what says nothing of the device (`infra`, `cascade`).
        limit: so many of each cell at most.

    Raises:
        StoreError: the store cannot be read.
    """
    wanted = {"profile": profile, "model": model, "quantisation": quantisation, "runtime": runtime}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    conditions, values = _conditions(run_id=run_id, since=since, of_device=of_device)
    for cell, cell_id in _cells(store, run_id):
        if all(getattr(cell, name) == value for name, value in wanted.items()):
            for row in store.each(_newest(conditions), (cell_id, *values, _limit(limit))):
                yield Trial(cell, Figures._make(row))


def latest_of_cells(
    store: Store, limit: int = 30, *, of_device: bool = True
) -> Iterator[tuple[CellKey, list[Figures]]]:
    """Each cell with its newest trials, the newest first; cells that have none are left out.

    Args:
        store: where they are.
        limit: so many of each cell at most.
        of_device: leave out what says nothing of the device (`infra`, `cascade`).

    Raises:
        StoreError: the store cannot be read.
    """
    conditions, values = _conditions(of_device=of_device)
    query = _newest(conditions)
    for cell, cell_id in _cells(store):
        rows = store.read(query, (cell_id, *values, _limit(limit)))
        if rows:
            yield cell, list(map(Figures._make, rows))


def count_trials(store: Store) -> int:
    """How many trials the store holds."""
    return int(store.read("SELECT count(*) FROM figures")[0][0])


def count_faults(store: Store) -> dict[str, int]:
    """How many trials say nothing of the device, by verdict: `infra`, and `cascade` after others.

    Raises:
        StoreError: the store cannot be read.
    """
    query = (
        f"SELECT verdict, count(*) FROM figures WHERE verdict IN {NO_STATEMENT} GROUP BY verdict"  # noqa: S608 - our own
    )
    return dict.fromkeys(NO_STATEMENT, 0) | dict(store.read(query))


def _cells(store: Store, run_id: str | None = None) -> list[tuple[CellKey, int]]:
    """All cells, or those with a trial of the run; in order, with the store's number of each."""
    where, values = (
        ("WHERE cell_id IN (SELECT cell_id FROM figures WHERE run_id = ?)", [run_id])
        if run_id is not None
        else ("", [])
    )
    try:
        return sorted(
            (parse_cell(key), cell_id)
            for cell_id, key in store.each(f"SELECT cell_id, key FROM cells {where}", values)  # noqa: S608
        )
    except ValueError as error:
        raise StoreError(
            f"{store.path}: {error}; `tierlab store check --repair` mends it"
        ) from error


def _conditions(
    *, run_id: str | None = None, since: datetime | None = None, of_device: bool
) -> tuple[str, tuple[str, ...]]:
    """Further conditions on a row, and their values."""
    given = {"run_id = ?": run_id, "started_at >= ?": moment(since) if since else None}
    conditions = [condition for condition, value in given.items() if value is not None]
    if of_device:
        conditions.append(_OF_DEVICE)
    values = tuple(value for value in given.values() if value is not None)
    return "".join(f" AND {condition}" for condition in conditions), values


def _newest(conditions: str) -> str:
    return (
        f"SELECT {_COLUMNS} FROM figures WHERE cell_id = ?{conditions}"  # noqa: S608 - our own
        " ORDER BY started_at DESC, trial_id DESC LIMIT ?"
    )


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit
