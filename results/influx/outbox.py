"""The outbox: what still has to be sent to InfluxDB, kept in the store.

A record is put into it by the transaction that stores the record, and leaves it by one of its own
after the database took all its lines. Lines that the database refuses are parked with its reason;
nothing is dropped but by `tierlab outbox drop`.

Rows are settled by what they hold and never by their number: SQLite gives the number of a deleted
row to another one, and another sender may have been quicker.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from results.figures import moment
from results.rows import parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from results.record import Record
    from results.store import Store

    LinesOf: TypeAlias = Callable[[Record, Path | None], Sequence[str]]

# A parked line with this reason waits for another try: `put_back`.
_PUT_BACK: Final = ""
_READ_AT_ONCE: Final = 50


class Counts(NamedTuple):
    """How full the outbox is.

    Attributes:
        waiting: records that still have to be sent.
        oldest: when the first of them began; `None` where none waits.
        put_back: single lines that wait for another try.
        parked: single lines that the database refused.
    """

    waiting: int
    oldest: datetime | None
    put_back: int
    parked: int

    @property
    def unsent(self) -> int:
        """Records and single lines that the next sender takes."""
        return self.waiting + self.put_back


class WaitingRun(NamedTuple):
    """What waits of one run: how many records, and when the first of them began."""

    run_id: str
    records: int
    oldest: datetime


class Parked(NamedTuple):
    """A line that the database refused, and why; without a reason it waits for another try."""

    number: int
    trial_id: str
    line: str
    reason: str
    parked_at: datetime


@dataclass(slots=True)
class Batch:
    """Records that are sent together.

    Attributes:
        trials: whose lines they are; one that gives no lines is settled with the others.
        lines: of all of them.
        owners: the trial of each line.
        unreadable: trials that no lines can be made of, and why; they stay in the outbox.
        position: where the next batch begins.
    """

    trials: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    position: int = 0


def count(store: Store) -> Counts:
    """How much waits.

    Raises:
        StoreError: the store cannot be read.
    """
    ((waiting, oldest),) = store.read(
        "SELECT count(*), min(started_at) FROM outbox JOIN records USING (trial_id)"
    )
    ((put_back, parked),) = store.read(
        "SELECT count(*) FILTER (WHERE reason = ?1), count(*) FILTER (WHERE reason <> ?1)"
        " FROM parked",
        (_PUT_BACK,),
    )
    return Counts(waiting, datetime.fromisoformat(oldest) if oldest else None, put_back, parked)


def has_more_than(store: Store, records: int) -> bool:
    """Whether more than so many records wait, or single lines do; quick however much waits."""
    ((more,),) = store.read(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT ?1)) = ?1"
        " OR EXISTS (SELECT 1 FROM parked WHERE reason = ?2)",
        (records + 1, _PUT_BACK),
    )
    return bool(more)


def waiting_runs(store: Store) -> list[WaitingRun]:
    """What waits, by run, the oldest first."""
    rows = store.read(
        "SELECT run_id, count(*), min(started_at) FROM outbox JOIN records USING (trial_id)"
        " GROUP BY run_id ORDER BY min(started_at), run_id"
    )
    return [WaitingRun(run, records, datetime.fromisoformat(at)) for run, records, at in rows]


def next_batch(
    store: Store, lines_of: LinesOf, results: Path | None, *, after: int, most: int
) -> Batch:
    """The records that waited longest, in so many lines at most, but one record at least.

    Args:
        store: where they wait.
        lines_of: makes the lines of a record.
        results: the results folder, for `lines_of`.
        after: the position that the batch before ended at; 0 for the first.
        most: so many lines, unless the first record alone has more.

    Returns:
        The batch; without trials where nothing is left that lines can be made of.

    Raises:
        StoreError: the store cannot be read.
    """
    batch = Batch(position=after)
    for seq, trial_id, body in _waiting(store, after):
        try:
            lines = lines_of(parse_record(trial_id, body), results)
        except Exception as error:  # noqa: BLE001 - one bad record holds back no other
            batch.unreadable[trial_id] = f"{error}".partition("\n")[0]
        else:
            if batch.trials and len(batch.lines) + len(lines) > most:
                break
            batch.trials.append(trial_id)
            batch.lines += lines
            batch.owners += [trial_id] * len(lines)
        batch.position = seq
    return batch


def _waiting(store: Store, after: int) -> Iterator[tuple[int, str, str]]:
    """Number, trial and body of what waits; no read is open between two rows."""
    query = (
        "SELECT seq, trial_id, body FROM outbox JOIN records USING (trial_id)"
        " WHERE seq > ? ORDER BY seq LIMIT ?"
    )
    while rows := store.read(query, (after, _READ_AT_ONCE)):
        yield from rows
        after = rows[-1][0]


def settle(store: Store, trials: Iterable[str], refused: Iterable[tuple[str, str, str]]) -> int:
    """Take records out of the outbox, and park what was refused of them: one transaction.

    Args:
        store: where they are.
        trials: the records whose lines were all taken or refused.
        refused: trial, line and reason of those that were refused.

    Returns:
        How many records left; fewer than asked for where another sender was quicker.

    Raises:
        StoreError: the store cannot be written.
    """
    now = moment(datetime.now(UTC))
    left = 0
    with store.transaction() as connection:
        for trial in trials:
            left += connection.execute("DELETE FROM outbox WHERE trial_id = ?", (trial,)).rowcount
        for trial, line, reason in refused:
            connection.execute(
                "INSERT INTO parked (trial_id, line, reason, parked_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (line) DO UPDATE SET reason = excluded.reason,"
                " parked_at = excluded.parked_at",
                (trial, line, reason or "refused", now),
            )
    return left


# ---- single lines ----


def parked(store: Store) -> list[Parked]:
    """The lines that were refused and those that wait for another try, the oldest first."""
    rows = store.read("SELECT seq, trial_id, line, reason, parked_at FROM parked ORDER BY seq")
    return [
        Parked(number, trial, line, reason, datetime.fromisoformat(at))
        for number, trial, line, reason, at in rows
    ]


def next_lines(store: Store, most: int) -> list[tuple[str, str]]:
    """Trial and line of those that wait for another try, so many at most."""
    query = "SELECT trial_id, line FROM parked WHERE reason = ? ORDER BY seq LIMIT ?"
    return store.read(query, (_PUT_BACK, most))


def settle_lines(store: Store, lines: Iterable[str]) -> int:
    """Forget single lines that the database took; how many were still there."""
    with store.transaction() as connection:
        return sum(
            connection.execute("DELETE FROM parked WHERE line = ?", (line,)).rowcount
            for line in lines
        )


def put_back(store: Store, numbers: Sequence[int] | None = None) -> int:
    """Let parked lines wait for another try, all or those of these numbers; how many."""
    where, values = _chosen(numbers)
    with store.transaction() as connection:
        return connection.execute(
            f"UPDATE parked SET reason = ? WHERE reason <> ? AND {where}",  # noqa: S608 - our own
            (_PUT_BACK, _PUT_BACK, *values),
        ).rowcount


def drop(store: Store, numbers: Sequence[int] | None = None) -> int:
    """Forget parked lines, all or those of these numbers; how many. What waits stays."""
    where, values = _chosen(numbers)
    with store.transaction() as connection:
        return connection.execute(
            f"DELETE FROM parked WHERE reason <> ? AND {where}",  # noqa: S608 - our own
            (_PUT_BACK, *values),
        ).rowcount


def unknown_numbers(store: Store, numbers: Iterable[int]) -> list[int]:
    """Those of the numbers that no parked line has."""
    known = {line.number for line in parked(store) if line.reason != _PUT_BACK}
    return [number for number in numbers if number not in known]


def _chosen(numbers: Sequence[int] | None) -> tuple[str, Sequence[int]]:
    if numbers is None:
        return "true", ()
    return f"seq IN ({', '.join('?' * len(numbers))})", numbers
