"""How a phone fails, and what the lab's own rules of health make of it.

The rules are not modelled: `harness.devices.health`, which the lab runs by, is asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from benchmarks.fleet_simulation.policy import Health
from harness.devices import health
from harness.devices.device_state import DeviceState

if TYPE_CHECKING:
    import random

    from benchmarks.fleet_simulation.lab import Phone
    from benchmarks.fleet_simulation.parameters import Parameters

_DUSK: Final = datetime(2026, 1, 1, 22, tzinfo=UTC)
# Without a quarantine a failed check is made again after so long.
CHECK_AGAIN_SECONDS: Final = 60.0


class LivePhone:
    """A phone during a night: whether it works, and what the lab holds of it."""

    def __init__(
        self, phone: Phone, rule: Health, parameters: Parameters, chance: random.Random
    ) -> None:
        self.phone = phone
        self._rule = rule
        self._parameters = parameters
        self._chance = chance
        self._stuck = False
        self._state = DeviceState(resource=f"phone-{phone.number}", since=_DUSK)

    def is_working(self, now: float) -> bool:
        """Whether a job could run on it at all."""
        return not self._stuck and now < self.phone.dies_at

    def fault_after(self, seconds: float, now: float) -> float | None:
        """When, within a try of so many seconds, the phone fails; `None`: it does not."""
        if not self.is_working(now):
            return min(seconds, self._parameters.fail_fast_seconds)
        if self._chance.random() < self.phone.fault_rate:
            return seconds * self._chance.random()
        until_death = self.phone.dies_at - now
        return until_death if until_death < seconds else None

    def failed(self, now: float) -> None:
        """The lab failed in a job: the phone may be stuck, and the rules take note."""
        self._stuck = self._stuck or self._chance.random() < self._parameters.stuck_share
        self._state = health.after_fault(self._state, "a fault", _clock(now))

    def succeeded(self) -> None:
        """A job was recorded."""
        self._state = health.after_success(self._state)

    def wait_seconds(self, now: float) -> float:
        """How long no job may come, by the rules."""
        until = self._state.until
        if self._rule is not Health.QUARANTINE or until is None:
            return 0.0
        return max(0.0, (until - _clock(now)).total_seconds())

    def needs_check(self) -> bool:
        """Whether recovery and a check come before the next job."""
        return self._rule is not Health.NONE and health.needs_check(self._state)

    def checked(self, now: float) -> tuple[float, float]:
        """Recover and check it once: how long that took, and how long to wait after it."""
        seconds = self._parameters.check_seconds
        if not self.is_working(now):
            seconds += self._parameters.ladder_seconds
            if (
                now < self.phone.dies_at
                and self._chance.random() < self._parameters.ladder_cure_rate
            ):
                self._stuck = False
        passed = self.is_working(now)
        self._state = health.after_check(
            self._state, passed=passed, reason="checked", now=_clock(now + seconds)
        )
        if passed or self._rule is Health.QUARANTINE:
            return seconds, 0.0  # a quarantine is asked for by `wait_seconds`
        return seconds, CHECK_AGAIN_SECONDS


def _clock(now: float) -> datetime:
    return _DUSK + timedelta(seconds=now)
