"""Faults on demand: what each is called and takes, and plans of many, scripted or from a seed."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from pydantic import JsonValue

_LONGEST_SECONDS: Final = 3600.0
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """A number that a fault takes: what it is unless given, and its bounds."""

    default: float
    least: float
    most: float


_SECONDS: Final = Amount(3.0, 0.0, _LONGEST_SECONDS)

#: The daemon's own actions. Whatever else is asked for is Android's to do.
ACTIONS: Final[Mapping[str, Mapping[str, Amount]]] = {
    "unplug": {"seconds": _SECONDS},
    "plug": {},  # what was unplugged is back before its time
    "offline": {"seconds": _SECONDS},
    "unauthorized": {"seconds": _SECONDS},
    "slow": {"bytes_per_second": Amount(1e6, 1e3, 1e12), "seconds": Amount(10.0, 0.0, 3600.0)},
    "reboot": {"seconds": Amount(5.0, 0.0, _LONGEST_SECONDS)},
    "garbage_transport": {"seed": Amount(0.0, 0.0, float(1 << 53))},
    "kill_daemon": {},
}
#: What a plan from a seed is made of: each ends by itself.
RANDOM_KINDS: Final = ("unplug", "offline", "reboot", "garbage_transport", "kill_daemon")


def amounts(action: str, arguments: Mapping[str, JsonValue]) -> dict[str, float]:
    """An action's numbers, with defaults for those that are not given.

    Raises:
        UserError: an argument is not known, is no number, or is out of bounds.
    """
    takes = ACTIONS[action]
    for name in arguments:
        if name not in takes:
            raise unknown(f"argument of {action}", name, takes)
    return {name: _number(action, name, amount, arguments) for name, amount in takes.items()}


def _number(action: str, name: str, amount: Amount, arguments: Mapping[str, JsonValue]) -> float:
    given = arguments.get(name, amount.default)
    if isinstance(given, bool) or not isinstance(given, int | float) or not math.isfinite(given):
        raise UserError(f"{action}: {name} is {given!r}", "give a number")
    if not amount.least <= given <= amount.most:
        raise UserError(
            f"{action}: {name} is {given:g}",
            f"give a number from {amount.least:g} to {amount.most:g}",
        )
    return float(given)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at its time, in seconds from the plan's start."""

    at_seconds: float
    action: str
    arguments: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Faults in the order of their times."""

    faults: tuple[Fault, ...]

    @classmethod
    def scripted(cls, faults: Sequence[Fault]) -> FaultPlan:
        """A plan of just these."""
        return cls(tuple(sorted(faults, key=lambda fault: fault.at_seconds)))

    @classmethod
    def from_seed(
        cls,
        seed: int,
        *,
        count: int,
        within_seconds: float,
        kinds: Sequence[str] = RANDOM_KINDS,
        lasting_seconds: tuple[float, float] = (0.2, 3.0),
    ) -> FaultPlan:
        """The plan that this seed means: always the same one, on every machine.

        `count` faults at times spread evenly at random over `within_seconds`; each lasts for
        `lasting_seconds` (least, most) where its kind has a length.
        """
        # Random.random is the only method whose sequence Python promises to keep.
        chance = random.Random(seed).random  # noqa: S311 - no secret
        least, most = lasting_seconds
        faults = []
        for _ in range(count):
            at, kind, lasting, number = (chance() for _ in range(4))
            action = kinds[int(kind * len(kinds))]
            takes = ACTIONS.get(action, {})
            arguments: dict[str, JsonValue] = {}
            if "seconds" in takes:
                arguments["seconds"] = round(least + lasting * (most - least), 3)
            if "seed" in takes:
                arguments["seed"] = int(number * (1 << 31))
            faults.append(Fault(round(at * within_seconds, 3), action, arguments))
        return cls.scripted(faults)

    async def play(
        self,
        control: Callable[..., Awaitable[JsonValue]],
        told: Callable[[Fault], None] = lambda _: None,
    ) -> None:
        """Do each fault at its time by `control(action, **arguments)`; `told` hears of it first.

        A fault that comes while the phone starts again after one before is done when it can be.

        Raises:
            UserError: the phone refuses it, again and again.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        for fault in self.faults:
            await asyncio.sleep(max(0.0, start + fault.at_seconds - loop.time()))
            told(fault)
            await _insist(control, fault)


async def _insist(control: Callable[..., Awaitable[JsonValue]], fault: Fault) -> None:
    """Do a fault; what was asked of a phone that crashed at this moment is asked again."""
    for _ in range(_TRIES - 1):
        with suppress(UserError):
            await control(fault.action, **fault.arguments)
            return
    await control(fault.action, **fault.arguments)
