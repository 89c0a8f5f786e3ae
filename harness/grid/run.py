"""Runs the trials of a grid one after the other, each on a host at rest."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Protocol

import psutil

from harness.devices.machine import quiet
from harness.errors import UserError
from harness.grid.history import NOT_DONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType

    from harness.grid.plan import GridTrial
    from harness.models import Workload
    from harness.profiles import Kind, Profile
    from results.record import Record

# What still runs beside a trial is measured with it, so it is waited for; but not for ever.
REST_SECONDS: Final = 60.0

# So many trials in a row without a record mean that the lab is broken, and not the trials.
MOST_FAILURES: Final = 5


class Bench(Protocol):
    """What runs and stores one trial: `harness.laboratory.Laboratory`."""

    def trial(self, profile: Profile, workload: Workload, *, repeat: int = 0) -> Record:
        """One trial, stored when this returns."""


@dataclass(frozen=True, slots=True)
class GridRun:
    """What the runner works with.

    Attributes:
        profiles: the devices, by id.
        open_bench: opens a laboratory for devices of one kind; virtual phones end with it.
        rest: waits for the host to be at rest, within bounds; whether that came.
        say: told each line of progress.
        clock: seconds, monotonic.
    """

    profiles: Mapping[str, Profile]
    open_bench: Callable[[Kind], AbstractContextManager[Bench]]
    rest: Callable[[], bool]
    say: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Tally:
    """How far a run has come.

    Attributes:
        total: trials that were planned for it.
        finished: trials with a result.
        failed: trials without one, which a later run tries again.
        out_of_time: whether it ended because its minutes were over.
    """

    total: int
    finished: int = 0
    failed: int = 0
    out_of_time: bool = False

    @property
    def left(self) -> int:
        """Trials that were not tried."""
        return self.total - self.finished - self.failed


def run_trials(
    trials: Sequence[GridTrial], run: GridRun, tally: Tally, *, seconds: float | None = None
) -> None:
    """Run the trials in their order; `tally` is right at any time, also after an interruption.

    Args:
        trials: what is still to be run.
        run: what it is run with.
        tally: counts what comes out.
        seconds: no trial begins that would probably not end within so many.

    Raises:
        UserError: several trials in a row could not be run at all.
    """
    pace = Pace(trials, run.clock)
    failures = 0
    for kind, block in groupby(trials, lambda trial: run.profiles[trial.cell.device].kind):
        with run.open_bench(kind) as bench:
            for trial in block:
                if seconds is not None and pace.elapsed + pace.expected(trial) > seconds:
                    tally.out_of_time = True
                    return
                failure = _one(trial, bench, run, tally, pace)
                failures = failures + 1 if failure else 0
                if failures >= MOST_FAILURES:
                    raise UserError(
                        f"{failures} trials in a row could not be run; the last: {failure}",
                        "mend that, then start the same command again: what is done is skipped",
                    )


def _one(trial: GridTrial, bench: Bench, run: GridRun, tally: Tally, pace: Pace) -> str | None:
    """One trial; why it could not be run, or `None`."""
    pace.begin()
    rested = run.rest()
    failure = None
    try:
        record = bench.trial(
            run.profiles[trial.cell.device], trial.cell.workload, repeat=trial.repeat
        )
    except Exception as error:  # noqa: BLE001 - whatever goes wrong with one, the others are run
        failure = f"{type(error).__name__}: {error}"
        outcome = f"could not be run: {failure}"
    else:
        outcome = f"{record.verdict}"
        if record.verdict in NOT_DONE:
            outcome += f" ({record.explanation})"
    good = failure is None and record.verdict not in NOT_DONE
    tally.finished += good
    tally.failed += not good
    took = pace.end(trial)
    done = tally.finished + tally.failed
    noise = "" if rested else "; the host was busy"
    run.say(
        f"[{done:{len(str(tally.total))}}/{tally.total}] {outcome:<11} {trial.cell}"
        f" #{trial.repeat + 1}  {took:.0f} s{noise};  {tally.left} left, {clock_time(pace.left)}"
    )
    return failure


class Pace:
    """How long trials take against what they were thought to."""

    def __init__(self, trials: Sequence[GridTrial], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = self._begun = clock()
        self._ahead = sum(trial.seconds for trial in trials)
        self._thought = 0.0
        self._took = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the first trial was begun."""
        return self._clock() - self._start

    @property
    def ratio(self) -> float:
        """Seconds that took over seconds thought, drawn to 1 while there is little of both."""
        doubt = 60.0
        return (self._took + doubt) / (self._thought + doubt)

    @property
    def left(self) -> float:
        """Seconds that the trials ahead should take."""
        return self._ahead * self.ratio

    def expected(self, trial: GridTrial) -> float:
        """Seconds that a trial should take."""
        return trial.seconds * self.ratio

    def begin(self) -> None:
        """A trial begins."""
        self._begun = self._clock()

    def end(self, trial: GridTrial) -> float:
        """The trial that was begun has ended; the seconds that it took."""
        took = self._clock() - self._begun
        self._took += took
        self._thought += trial.seconds
        self._ahead -= trial.seconds
        return took


def clock_time(seconds: float) -> str:
    """`1 h 05 min`, `12 min` or `40 s`."""
    minutes = round(seconds / 60)
    if minutes < 2:  # noqa: PLR2004
        return f"{max(0.0, seconds):.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004


def host_at_rest(within: float = REST_SECONDS) -> bool:
    """Wait up to so many seconds until this machine does nothing else; whether that came."""
    return asyncio.run(quiet(lambda: psutil.cpu_percent(interval=None), within=within))


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Meanwhile SIGINT and SIGTERM end the trial at hand as Ctrl-C does, also in the background.

    A shell that starts a command in the background has it ignore SIGINT. Python's own handler is
    what asyncio replaces with one that cancels the trial, which then takes everything down.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
