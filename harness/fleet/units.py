"""How the tests of a run are dealt out to workers: a worker a live device, the longest first.

Pure: node ids in, units out. Profiles whose devices stand in for each other share a *lane*, which
has as many *seats* as there are devices: more workers than that would only wait for leases. A
*unit* is what stays together on one worker, since it remembers the trials of its own process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

    Seconds = Callable[["Subject", Sequence[str]], float]


@dataclass(frozen=True, slots=True)
class Lane:
    """Profiles that the same devices are used for, and how many devices these are.

    A lane of no profile is for tests of no device.
    """

    profiles: tuple[str, ...]
    seats: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a test is about: a profile and a workload, each empty where it is about none."""

    profile: str
    workload: str


@dataclass(frozen=True, slots=True)
class Unit:
    """Tests that stay together, in their order, and how long they will take."""

    tests: tuple[str, ...]
    seconds: float


def lanes_of(resources: Mapping[str, Collection[str]]) -> tuple[Lane, ...]:
    """The lanes of a run.

    Args:
        resources: by profile, what leases of it are taken on.
    """
    found: list[tuple[set[str], set[str]]] = []
    for profile, its in resources.items():
        profiles, devices = {profile}, set(its)
        apart = []
        for lane in found:
            if lane[1] & devices:
                profiles, devices = profiles | lane[0], devices | lane[1]
            else:
                apart.append(lane)
        found = [*apart, (profiles, devices)]
    return tuple(
        Lane(tuple(profile for profile in resources if profile in profiles), len(devices))
        for profiles, devices in found
    )


def subject_of(node_id: str, profiles: Iterable[str], workloads: Iterable[str]) -> Subject:
    """What a test's id says that it is about.

    Ids end in `[PROFILE]` or `[PROFILE-WORKLOAD]`, and other words may follow; the id of one
    profile may begin with that of another.
    """
    words = node_id.partition("[")[2].removesuffix("]")
    profile = _longest(words, profiles)
    return Subject(profile, _longest(words[len(profile) + 1 :], workloads) if profile else "")


def _longest(words: str, names: Iterable[str]) -> str:
    return max((n for n in names if f"{words}-".startswith(f"{n}-")), key=len, default="")


def units_of(
    tests: Iterable[str],
    lanes: Sequence[Lane],
    workloads: Collection[str],
    seconds: Seconds,
) -> dict[Lane, list[Unit]]:
    """The units of each lane, in the order in which they should begin.

    Where a lane has one device, a profile is one unit, in the order of its tests: first what needs
    no model. Where it has several, each workload is a unit of its own; what needs no model comes
    first all the same, then what takes longest.

    Args:
        tests: node ids, in their order.
        lanes: of the run.
        workloads: how ids of tests name the workloads of the run.
        seconds: how long tests of a subject will take together.
    """
    lane_of = {profile: lane for lane in lanes for profile in lane.profiles}
    nobody = Lane((), 1)
    grouped: dict[Lane, dict[Subject, list[tuple[str, Subject]]]] = {}
    for test in tests:
        subject = subject_of(test, lane_of, workloads)
        lane = lane_of.get(subject.profile, nobody)
        whole = Subject(subject.profile, "") if lane.seats == 1 else subject
        grouped.setdefault(lane, {}).setdefault(whole, []).append((test, subject))
    found: dict[Lane, list[Unit]] = {}
    for lane, wholes in grouped.items():
        units = [(whole, _unit(those, seconds)) for whole, those in wholes.items()]
        if lane.seats > 1:
            units.sort(key=lambda it: (it[0].workload != "", -it[1].seconds))
        found[lane] = [unit for _, unit in units]
    return found


def _unit(tests: Sequence[tuple[str, Subject]], seconds: Seconds) -> Unit:
    parts: dict[Subject, list[str]] = {}
    for test, subject in tests:
        parts.setdefault(subject, []).append(test)
    total = sum(seconds(subject, those) for subject, those in parts.items())
    return Unit(tuple(test for test, _ in tests), total)


class Dealer:
    """Gives workers their units: a worker keeps to its lane while there is something to do in it.

    Args:
        units: of each lane, in the order in which they should begin.
    """

    def __init__(self, units: Mapping[Lane, Iterable[Unit]]) -> None:
        self._waiting = {lane: deque(those) for lane, those in units.items()}
        self._at: dict[Hashable, Lane] = {}

    @property
    def has_units(self) -> bool:
        """Whether some unit is still to be given."""
        return any(self._waiting.values())

    def deal(self, worker: Hashable) -> Unit | None:
        """The next unit of a worker; `None` where it is not needed any more."""
        lane = self._at.get(worker)
        if lane is None or not self._waiting[lane]:
            self._at.pop(worker, None)
            lane = self._longest_free()
        if lane is None:
            return None
        self._at[worker] = lane
        return self._waiting[lane].popleft()

    def leave(self, worker: Hashable, undone: Sequence[str]) -> None:
        """Take back what a worker that is gone had not begun; it comes first in its lane."""
        lane = self._at.pop(worker, None)
        if lane is not None and undone:
            self._waiting[lane].appendleft(Unit(tuple(undone), 0.0))

    def _longest_free(self) -> Lane | None:
        """The lane with a free seat that takes longest: that which ends last should begin first."""
        taken = list(self._at.values())
        free = [
            lane
            for lane, waiting in self._waiting.items()
            if waiting and taken.count(lane) < lane.seats
        ]
        return max(free, key=self._seconds_left, default=None)

    def _seconds_left(self, lane: Lane) -> float:
        return sum(unit.seconds for unit in self._waiting[lane]) / lane.seats
