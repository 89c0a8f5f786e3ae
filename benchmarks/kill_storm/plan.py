"""What is killed and when, from a seed: the same seed, the same plan."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Target(StrEnum):
    """What is killed."""

    CONTROLLER = "pytest"
    XDIST = "xdist worker"
    BROWSER = "browser"
    PHONE = "virtual phone"
    ADB = "adb server"
    WORKER = "Buildbot worker"
    MASTER = "Buildbot master"
    JOB = "job"
    STORE = "hand-over of a store"
    """A host packs its store, the controller takes it up, or the host notes that it arrived."""


ONE_HOST: Final = (Target.CONTROLLER, Target.XDIST, Target.BROWSER, Target.PHONE, Target.ADB)
FLEET: Final = (
    Target.WORKER, Target.MASTER, Target.JOB, Target.STORE, Target.PHONE, Target.ADB,
    Target.BROWSER,
)  # fmt: skip

BRIEF: Final = {Target.STORE: 1.5}
"""How long what comes and goes lives, in seconds: it is killed within that time of its birth."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill.

    Attributes:
        number: from 1.
        target: of this kind.
        after: so many seconds after the one before it.
        pick: which of those that there are then, from 0 to below 1.
    """

    number: int
    target: Target
    after: float
    pick: float

    def choose(self, count: int) -> int:
        """Which of so many, from 0."""
        return int(self.pick * count)


def plan(seed: int, targets: Sequence[Target], count: int, within: float) -> list[Kill]:
    """A plan in which each kind of target comes as often as any other, give or take one.

    Args:
        seed: of the order, the times and the choices.
        targets: the kinds.
        count: how many kills.
        within: the longest time between two, in seconds.
    """
    rng = random.Random(f"{seed} {' '.join(targets)}")  # noqa: S311 - no secret
    rounds = [target for n in range(count) for target in (targets[n % len(targets)],)]
    rng.shuffle(rounds)
    return [
        Kill(number, target, after=rng.uniform(0, within), pick=rng.random())
        for number, target in enumerate(rounds, start=1)
    ]
