"""Health as a run sees it: each change is kept with the device, told, and journalled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.devices import health
from harness.devices.device_state import Condition, change, load
from results.fleet.events import Event, EventKind
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import JsonValue

    from harness.devices.device_state import DeviceState
    from harness.devices.recovery import Finding, Step

# Seen again after this: the file is written anew.
_SEEN_SECONDS = 60.0


class HealthBook:
    """What happens to the health of devices in one run.

    Args:
        run_id: the run.
        attempt_id: which invocation of it.
        journal: takes events.
        say: told in words.
    """

    def __init__(
        self,
        run_id: str,
        attempt_id: str,
        journal: Callable[[Event], None],
        say: Callable[[str], None],
    ) -> None:
        self._run_id = run_id
        self._attempt_id = attempt_id
        self._journal = journal
        self._say = say

    def seen(self, resource: str, profile: str | None) -> None:
        """A device was leased, and is there."""
        now = datetime.now(UTC)

        def seen(state: DeviceState) -> DeviceState:
            known = state.seen_at is not None and state.profile == profile
            if known and state.seen_at and (now - state.seen_at).total_seconds() < _SEEN_SECONDS:
                return state
            return state.model_copy(update={"seen_at": now, "profile": profile})

        change(resource, seen)

    def fault(self, resource: str, reason: str) -> DeviceState:
        """The lab failed while the device had a job."""
        reason = plain(reason)
        return self._change(resource, lambda s, now: health.after_fault(s, reason, now))

    def checked(self, resource: str, finding: Finding) -> DeviceState:
        """A health check ended."""

        def how(state: DeviceState, now: datetime) -> DeviceState:
            return health.after_check(state, passed=finding.passed, reason=finding.reason, now=now)

        return self._change(resource, how)

    def climbed(self, resource: str, step: Step) -> None:
        """A rung of the ladder was climbed, whatever came of it."""
        detail: dict[str, JsonValue] = {
            "rung": step.rung,
            "seconds": step.seconds,
            "climbed": step.climbed,
            "outcome": step.outcome,
            "passed": step.finding.passed,
            "finding": step.finding.reason,
        }
        self._tell(resource, f"{resource}: {step}", load(resource).profile, detail)

    def success(self, resource: str) -> None:
        """The device did its work."""
        if load(resource).strikes:
            change(resource, health.after_success)

    def _change(
        self, resource: str, how: Callable[[DeviceState, datetime], DeviceState]
    ) -> DeviceState:
        now, before = datetime.now(UTC), None

        def changed(state: DeviceState) -> DeviceState:
            nonlocal before
            before = state
            return how(state, now)

        state = change(resource, changed)
        if state != before:
            detail: dict[str, JsonValue] = {
                "condition": str(state.condition),
                "reason": state.reason,
                "strikes": state.strikes,
                "until": state.until.isoformat() if state.until else None,
            }
            self._tell(resource, described(state), state.profile, detail)
        return state

    def _tell(
        self, resource: str, text: str, profile: str | None, detail: dict[str, JsonValue]
    ) -> None:
        self._say(text)
        event = Event.now(
            EventKind.HEALTH,
            text,
            run_id=self._run_id,
            resource=resource,
            profile=profile,
            attempt_id=self._attempt_id,
        )
        self._journal(event.model_copy(update={"detail": {**event.detail, **detail}}))


def described(state: DeviceState) -> str:
    """The condition of a device in one line: what it is, and why."""
    if state.condition is Condition.QUARANTINED and state.until is not None:
        until = state.until.astimezone().strftime("%Y-%m-%d %H:%M")
        return (
            f"{state.resource} is quarantined until {until}"
            f" (strike {state.strikes}): {state.reason}"
        )
    return f"{state.resource} is {state.condition}: {state.reason}"
