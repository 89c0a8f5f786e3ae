"""The recovery ladder: from the gentlest help to the harshest, until a health check passes.

A rung may fail and help all the same, and may succeed and help nothing: only the health check after
it decides. Each rung has its bound, and so have all of them together.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

# Of the whole ladder, its health checks included. A phone boots in one or two minutes.
LADDER_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a health check.

    Attributes:
        reason: what was found, in one line.
        passed: whether the device may take a job.
        waits: no rung helps, but time or a person may: a phone that is hot, or locked.
    """

    reason: str
    passed: bool = False
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds that each rung may take, the return of the device included.

    A phone that crashed boots by itself: the first rung waits for that as well.
    """

    reconnect: float = 120.0
    restart: float = 60.0
    reboot: float = 240.0
    power_cycle: float = 240.0


class RungFailedError(Exception):
    """A rung could not be climbed; `str()` says why, and what to do, in one line."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One way to help a device.

    Attributes:
        name: what is done, such as `reboot`.
        seconds: how long it may take, until the device is back.
        climb: does it, and says what came of it; `RungFailedError` where nothing did.
    """

    name: str
    seconds: float
    climb: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Step:
    """One rung as it was climbed, and what the health check after it found."""

    rung: str
    seconds: float
    outcome: str
    climbed: bool
    finding: Finding

    def __str__(self) -> str:
        state = "passed" if self.finding.passed else "failed"
        return (
            f"{self.rung}, {self.seconds:.0f} s: {self.outcome};"
            f" health check {state}: {self.finding.reason}"
        )


async def recover(
    rungs: Sequence[Rung],
    check: Callable[[], Awaitable[Finding]],
    *,
    told: Callable[[Step], None],
    within: float = LADDER_SECONDS,
) -> Finding:
    """Check a device, and help it rung by rung until it passes; the last finding.

    Args:
        rungs: the gentlest first.
        check: the health check, which bounds itself; what it raises ends the ladder.
        told: of each rung, when the check after it has ended.
        within: seconds for all rungs together; one that would begin later is not climbed.
    """
    until = time.monotonic() + within
    finding = await check()
    for rung in rungs:
        left = until - time.monotonic()
        if finding.passed or finding.waits or left <= 0:
            break
        began = time.monotonic()
        outcome, climbed = await _climbed(rung, min(rung.seconds, left))
        seconds = time.monotonic() - began
        finding = await check()
        told(Step(rung.name, round(seconds, 1), outcome, climbed, finding))
    return finding


async def _climbed(rung: Rung, seconds: float) -> tuple[str, bool]:
    """What came of a rung in words, and whether it was climbed."""
    try:
        async with asyncio.timeout(seconds):
            return await rung.climb(), True
    except RungFailedError as error:
        return str(error), False
    except TimeoutError:
        return f"not done within {seconds:.0f} s", False
