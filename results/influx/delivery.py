"""Emptying the outbox into InfluxDB, and what is said of it.

Lines are sent at least once, which comes to once, since the same lines write the same points. What
cannot be delivered waits in the store. Several senders may work at once: they write the same
points, and whoever comes second finds the outbox emptied.
"""

from __future__ import annotations

import platform
import random
import shlex
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

from results.influx.client import RefusedError, UnavailableError
from results.influx.outbox import count, next_batch, next_lines, settle, settle_lines
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from results.influx.outbox import Counts, LinesOf
    from results.influx.settings import InfluxSettings
    from results.store import Store

LINES_A_REQUEST: Final = 5_000
"""What InfluxDB's documentation recommends, and the most that is sent at once."""

LEAST_LINES_A_REQUEST: Final = 100
"""A server that is slow over so few lines is not helped by fewer."""

FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 60.0


class Writer(Protocol):
    """What lines are written to: `Influx`, or a test's stand-in."""

    def write(self, lines: Sequence[str]) -> None:
        """Write lines; raises what `Influx.write` raises."""


class Pause(Protocol):
    """Waits between two tries; the answer is whether to try again."""

    def __call__(self, seconds: float, *, asked: bool, failing_seconds: float) -> bool:
        """Wait.

        Args:
            seconds: how long.
            asked: whether the server asked for this wait, so that an earlier try is in vain.
            failing_seconds: how long nothing has worked.
        """


def wait_seconds(failures: int, share: float = 1.0) -> float:
    """How long to wait after so many failures in a row.

    It doubles each time, and half of it is left to chance, so that many hosts do not come back to
    a server at the same moment.

    Args:
        failures: in a row, the last included; from 1 on.
        share: which part of the random half, 0 to 1.
    """
    # The exponent is bounded because a float is.
    whole = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** min(failures - 1, 30))
    return whole * (0.5 + 0.5 * share)


@dataclass(slots=True)
class Progress:
    """How far a sender has come. Read by other threads.

    Attributes:
        records: that left the outbox.
        lines: that the database took.
        parked: lines that it refused.
        unreadable: trials that no lines can be made of, and why.
        problem: why nothing is sent just now; `None` while all goes well.
    """

    records: int = 0
    lines: int = 0
    parked: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


class _GivenUpError(Exception):
    """The pause said that there is no time for another try."""


class Sender:
    """Sends what waits, oldest first.

    Args:
        store: where it waits.
        writer: where it goes.
        lines_of: makes the lines of a record; always the same ones of the same record.
        pause: waits between two tries of the same lines.
        rest: called after each batch with the processor seconds that it took; whether to go on.
        gauge: makes a line of how much waits, written at the end of `send` where that works.
        most: so many lines a request.
    """

    def __init__(
        self,
        store: Store,
        writer: Writer,
        lines_of: LinesOf,
        *,
        pause: Pause,
        rest: Callable[[float], bool] = lambda _: True,
        gauge: Callable[[Counts], str] | None = None,
        most: int = LINES_A_REQUEST,
    ) -> None:
        self._store = store
        self._writer = writer
        self._lines_of = lines_of
        self._pause = pause
        self._rest = rest
        self._gauge = gauge
        self._failing_since: float | None = None
        self.most = most
        # What this server takes at once, as far as it has shown.
        self._fits = LINES_A_REQUEST
        self.progress = Progress()

    def send(self) -> None:
        """Send until nothing waits, or the pause says that it is enough.

        Raises:
            MisconfiguredError: something has to be mended first; all that was not taken waits.
            StoreError: the store cannot be used.
        """
        try:
            self._send_single_lines()
            self._send_records()
            self._write_gauge()
        except _GivenUpError:
            return

    def _send_records(self) -> None:
        results = self._store.path.parent
        position = 0
        while True:
            began = time.thread_time()
            batch = next_batch(self._store, self._lines_of, results, after=position, most=self.most)
            self.progress.unreadable |= batch.unreadable
            if not batch.trials:
                return
            refused = self._deliver(batch.lines)
            owner = dict(zip(batch.lines, batch.owners, strict=True))
            parked = [(owner[line], line, reason) for line, reason in refused]
            self.progress.records += settle(self._store, batch.trials, parked)
            self.progress.lines += len(batch.lines) - len(refused)
            self.progress.parked += len(refused)
            position = batch.position
            if not self._rest(time.thread_time() - began):
                raise _GivenUpError

    def _send_single_lines(self) -> None:
        """The lines that were parked and put back: as they are."""
        while waiting := next_lines(self._store, self.most):
            lines = [line for _, line in waiting]
            refused = dict(self._deliver(lines))
            settle_lines(self._store, [line for line in lines if line not in refused])
            parked = [(trial, line, refused[line]) for trial, line in waiting if line in refused]
            settle(self._store, [], parked)
            self.progress.lines += len(lines) - len(refused)
            self.progress.parked += len(refused)

    def _deliver(self, lines: Sequence[str]) -> list[tuple[str, str]]:
        """Write lines in requests of the right size; those that are refused, and why."""
        refused: list[tuple[str, str]] = []
        start = 0
        while start < len(lines):
            end = start + min(self.most, self._fits)
            refused += self._write(lines[start:end])
            start = end
        return refused

    def _write(self, lines: Sequence[str]) -> list[tuple[str, str]]:
        """Write lines in one request, or halve them until only the bad ones are refused.

        That the good ones are written more than once is harmless.
        """
        failures = 0
        while True:
            try:
                self._writer.write(lines)
            except UnavailableError as error:
                failures += 1
                self._wait(error, failures)
                if error.slow and len(lines) > LEAST_LINES_A_REQUEST:
                    return self._write_halves(lines, fewer=True)
            except RefusedError as error:
                self._works()
                if len(lines) == 1:
                    return [(lines[0], str(error))]
                return self._write_halves(lines, fewer=error.too_large)
            else:
                self._works()
                return []

    def _write_halves(self, lines: Sequence[str], *, fewer: bool) -> list[tuple[str, str]]:
        middle = len(lines) // 2
        if fewer:
            self._fits = min(self._fits, max(middle, LEAST_LINES_A_REQUEST))
        return [*self._write(lines[:middle]), *self._write(lines[middle:])]

    def _works(self) -> None:
        self._failing_since = None
        self.progress.problem = None

    def _wait(self, error: UnavailableError, failures: int) -> None:
        self.progress.problem = str(error)
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        own = wait_seconds(failures, random.random())  # noqa: S311 - no secret hangs on it
        goes_on = self._pause(
            max(own, error.retry_after or 0.0),
            asked=error.retry_after is not None,
            failing_seconds=now - self._failing_since,
        )
        if not goes_on:
            raise _GivenUpError

    def _write_gauge(self) -> None:
        if self._gauge is None:
            return
        line = self._gauge(count(self._store))
        try:
            self._writer.write([line])
        except (UnavailableError, RefusedError):
            return  # it says how things are, and soon they are otherwise


def outbox_gauge(counts: Counts) -> str:
    """How much waits on this host, as a line."""
    from results.influx.lines import outbox_line  # noqa: PLC0415 - as for `lines_of`

    now = datetime.now(UTC)
    return outbox_line(
        host=platform.node(),
        at=now,
        waiting=counts.unsent,
        parked=counts.parked,
        oldest_seconds=(now - counts.oldest).total_seconds() if counts.oldest else None,
    )


def record_lines() -> LinesOf:
    """What makes the lines of a record; looking for it imports InfluxDB's client."""
    from results.influx.lines import lines_of  # noqa: PLC0415 - a third of a second

    return lines_of


# ---- what is said of it ----


def summary(
    progress: Progress, counts: Counts | None, problem: str | None, go_on: Sequence[str]
) -> str:
    """One line: what was delivered, what waits and why, and the command that goes on.

    Args:
        progress: of the sender.
        counts: of the outbox now; `None` where it cannot be read.
        problem: why something waits, where something does.
        go_on: the words of the command that sends it.
    """
    parts = [f"{_number(progress.records, 'record')} delivered"] if progress.records else []
    waits = _waiting(counts) if counts and counts.unsent else ""
    if waits and (why := problem or progress.problem or _unreadable(progress)):
        waits += f": {why}"
    parts += [waits] if waits else []
    if counts is None:
        parts.append(problem or "the outbox cannot be read")
    if progress.parked:
        verb = "was" if progress.parked == 1 else "were"
        parts.append(f"{_number(progress.parked, 'line')} {verb} refused: tierlab outbox list")
    if waits or counts is None:
        parts.append(f"go on with: {shlex.join(go_on)}")
    return plain("InfluxDB: " + ("; ".join(parts) or "nothing waits"))


def _number(count_of: int, thing: str) -> str:
    return f"{count_of} {thing}" if count_of == 1 else f"{count_of} {thing}s"


def _waiting(counts: Counts) -> str:
    things = [
        _number(number, thing)
        for number, thing in ((counts.waiting, "record"), (counts.put_back, "line"))
        if number
    ]
    return f"{' and '.join(things)} {'waits' if counts.unsent == 1 else 'wait'}"


def _unreadable(progress: Progress) -> str:
    for trial, reason in progress.unreadable.items():
        return f"trial {trial} cannot be sent: {reason}"
    return ""


def send_command(results: Path, settings: InfluxSettings) -> list[str]:
    """The words of the command that sends what waits; the token is not among them."""
    return ["tierlab", "outbox", "send", "--results", str(results), *settings.options()]
