"""The runner, with a bench that ends trials as a script says."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.grid.plan import Cell, GridTrial
from harness.grid.run import (
    MOST_FAILURES,
    GridRun,
    Pace,
    Tally,
    clock_time,
    ended_in_order,
    run_trials,
)
from harness.models import Workload
from harness.profiles import load_profiles
from results.record import Record, Verdict
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.profiles import Kind, Profile

PROFILES = load_profiles()
WORKLOAD = Workload("gemma-3-270m", "q8_0", "wllama/wasm", 16, 10)


def trial(device: str = "lab-1core", *, repeat: int = 0, seconds: float = 10.0) -> GridTrial:
    return GridTrial(Cell(device, WORKLOAD), repeat, 1, seconds)


class Lab:
    """Benches, a clock that trials move, and what was said."""

    def __init__(self, *outcomes: Verdict | BaseException, takes: float = 10.0) -> None:
        self.outcomes = list(outcomes)
        self.takes = takes
        self.now = 0.0
        self.asked: list[tuple[str, int]] = []
        self.events: list[str] = []
        self.said: list[str] = []
        self.rested = True

    @contextmanager
    def open_bench(self, kind: Kind) -> Iterator[Lab]:
        self.events.append(f"open {kind}")
        try:
            yield self
        finally:
            self.events.append("close")

    def trial(self, profile: Profile, workload: Workload, *, repeat: int = 0) -> Record:
        assert workload == WORKLOAD
        self.events.append("trial")
        self.asked.append((profile.id, repeat))
        self.now += self.takes
        outcome = self.outcomes.pop(0) if self.outcomes else Verdict.OK
        if isinstance(outcome, BaseException):
            raise outcome
        return record(verdict=outcome, explanation="so it was")

    def rest(self) -> bool:
        self.events.append("rest")
        return self.rested

    def run(self, *trials: GridTrial, seconds: float | None = None) -> Tally:
        tally = Tally(total=len(trials))
        run_trials(trials, self.grid(), tally, seconds=seconds)
        return tally

    def grid(self) -> GridRun:
        clock: Callable[[], float] = lambda: self.now  # noqa: E731
        return GridRun(PROFILES, self.open_bench, self.rest, self.said.append, clock)


def test_each_trial_waits_for_the_host_to_rest() -> None:
    lab = Lab(Verdict.OK, Verdict.OOM)
    tally = lab.run(trial(), trial("lab-half", repeat=1))
    assert lab.events == ["open desktop", "rest", "trial", "rest", "trial", "close"]
    assert lab.asked == [("lab-1core", 0), ("lab-half", 1)]
    assert (tally.finished, tally.failed, tally.left) == (2, 0, 0)
    assert lab.said[0].startswith("[1/2] ok ")
    assert "lab-half  gemma-3-270m/q8_0 on wllama/wasm #2  10 s;  0 left" in lab.said[1]


def test_a_host_that_does_not_rest_is_told() -> None:
    lab = Lab()
    lab.rested = False
    lab.run(trial())
    assert "the host was busy" in lab.said[0]


def test_phones_have_a_laboratory_of_their_own() -> None:
    lab = Lab()
    lab.run(trial(), trial("lab-half"), trial("pixel7"))
    assert [e for e in lab.events if e != "rest"] == [
        "open desktop", "trial", "trial", "close", "open android", "trial", "close",
    ]  # fmt: skip


def test_faults_of_the_lab_and_errors_are_told_and_the_others_are_run() -> None:
    lab = Lab(Verdict.INFRA, UserError("no such file", "make it"), ValueError("odd"), Verdict.OK)
    tally = lab.run(*(trial(repeat=number) for number in range(4)))
    assert (tally.finished, tally.failed, tally.left) == (1, 3, 0)
    assert "infra (so it was)" in lab.said[0]
    assert "could not be run: UserError: no such file" in lab.said[1]
    assert "could not be run: ValueError: odd" in lab.said[2]


def test_a_broken_lab_ends_the_grid() -> None:
    lab = Lab(*[OSError("the disk is full")] * 9)
    with pytest.raises(UserError, match="the disk is full") as raised:
        lab.run(*(trial(repeat=number) for number in range(9)))
    assert len(lab.asked) == MOST_FAILURES
    assert lab.events[-1] == "close"
    assert "same command again" in raised.value.next_step


def test_faults_between_results_do_not_end_it() -> None:
    outcomes: list[Verdict | BaseException] = [OSError("once"), Verdict.OK]
    lab = Lab(*outcomes * 6)
    tally = lab.run(*(trial(repeat=number) for number in range(12)))
    assert (tally.finished, tally.failed) == (6, 6)


def test_an_interruption_closes_the_laboratory_and_leaves_the_tally_right() -> None:
    lab = Lab(Verdict.OK, KeyboardInterrupt())
    tally = Tally(total=3)
    with pytest.raises(KeyboardInterrupt):
        run_trials([trial(repeat=n) for n in range(3)], lab.grid(), tally)
    assert (tally.finished, tally.failed, tally.left) == (1, 0, 2)
    assert lab.events[-1] == "close"


def test_no_trial_begins_that_would_end_too_late() -> None:
    lab = Lab(takes=20.0)
    tally = lab.run(*(trial(repeat=n, seconds=20.0) for n in range(9)), seconds=70.0)
    assert (tally.finished, tally.left) == (3, 6)
    assert tally.out_of_time


def test_the_time_left_follows_what_trials_take() -> None:
    lab = Lab()
    trials = [trial(repeat=n, seconds=60.0) for n in range(10)]
    pace = Pace(trials, lambda: lab.now)
    assert pace.left == 600.0
    for one in trials:
        pace.begin()
        lab.now += 180.0
        assert pace.end(one) == 180.0
    assert pace.ratio == pytest.approx(3, rel=0.1)
    assert pace.left == 0.0
    assert pace.expected(trials[0]) == pytest.approx(180, rel=0.1)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "1 h 00 min"), (3960, "1 h 06 min")],
)
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    assert clock_time(seconds) == said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_interrupt_also_where_a_shell_had_them_ignored(number: signal.Signals) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt), ended_in_order():
            os.kill(os.getpid(), number)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
