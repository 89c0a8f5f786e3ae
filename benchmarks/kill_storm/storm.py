"""The storm itself: wait, find somebody of the kind that is due, `kill -9`, read the stores."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import psutil

from benchmarks.kill_storm.crowd import described
from benchmarks.kill_storm.plan import BRIEF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.kill_storm.crowd import Crowd
    from benchmarks.kill_storm.ledger import Ledger
    from benchmarks.kill_storm.plan import Kill

# Everything comes round within a trial or two; a hand-over of a store lives for a second.
_VICTIM_SECONDS: Final = 240.0
# So long one is waited for before others go first.
_PATIENCE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05
_TEND_SECONDS: Final = 0.5


class Scene(Protocol):
    """Where the storm goes over."""

    results: list[Path]
    """The results folders of all hosts, the controller's first."""
    runs: list[str]
    """The ids of all runs so far."""
    problems: list[str]
    """What did not hold so far."""

    def tend(self) -> None:
        """Start again what does not run, as its user would; begin a new run where one is done."""

    def servants(self) -> set[int]:
        """The children that the scene waits for itself."""


@dataclass
class Deaths:
    """What was killed, and what of the plan could not be.

    Attributes:
        killed: each kill with the seconds since the start and the words for its victim.
        missed: kills whose kind of target never came within the time.
    """

    killed: list[tuple[Kill, float, str]] = field(default_factory=list)
    missed: list[Kill] = field(default_factory=list)


def storm(
    scene: Scene,
    crowd: Crowd,
    kills: Sequence[Kill],
    ledger: Ledger,
    *,
    until: float,
    say: Callable[[str], None],
) -> Deaths:
    """Kill by the plan; where nobody of the kind that is due comes, the next one goes first.

    Args:
        scene: where.
        crowd: the processes.
        kills: the plan.
        ledger: reads the stores after each kill.
        until: no kill after this time of `time.monotonic`.
        say: told in words.
    """
    began, deaths, left = time.monotonic(), Deaths(), list(kills)
    while left:
        _pass(scene, crowd, left[0].after)
        met = _met(scene, crowd, left, until)
        if met is None:
            say("nobody came for " + ", ".join(f"{kill.number}: {kill.target}" for kill in left))
            deaths.missed += left
            return deaths
        kill, victim = met
        words = described(victim)
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        left.remove(kill)
        ledger.read(scene.results)
        deaths.killed.append((kill, time.monotonic() - began, words))
        trials = len(ledger.committed)
        say(f"{kill.number:3} of {len(kills)}: {kill.target}: {words}; {trials} trials so far")
    return deaths


def _pass(scene: Scene, crowd: Crowd, seconds: float) -> None:
    """Let time pass, while the scene is tended."""
    end = time.monotonic() + seconds
    while True:
        scene.tend()
        crowd.reap(scene.servants())
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(_TEND_SECONDS, left))


def _met(
    scene: Scene, crowd: Crowd, left: Sequence[Kill], until: float
) -> tuple[Kill, psutil.Process] | None:
    """The kill that is due and its victim, as soon as there is one; another one after a while."""
    began, tended = time.monotonic(), 0.0
    first_of_each = list({kill.target: kill for kill in reversed(left)}.values())[::-1]
    while time.monotonic() < min(began + _VICTIM_SECONDS, until):
        patient = time.monotonic() < began + _PATIENCE_SECONDS
        for kill in left[:1] if patient else first_of_each:
            if victim := _victim(crowd, kill):
                return kill, victim
        if time.monotonic() - tended > _TEND_SECONDS:
            scene.tend()
            crowd.reap(scene.servants())
            tended = time.monotonic()
        time.sleep(_LOOK_SECONDS)
    return None


def _victim(crowd: Crowd, kill: Kill) -> psutil.Process | None:
    """Somebody of the kind, if there is one now."""
    found = crowd.of(kill.target)
    if not found:
        return None
    victim = found[kill.choose(len(found))]
    if kill.target in BRIEF:
        # It is met at its beginning, always: some of its life is let pass.
        time.sleep(kill.pick * BRIEF[kill.target])
    return victim if victim.is_running() else None
