"""When a device may take a job: a state machine without a clock or a disk of its own.

    ready --fault--> unhealthy --check passed--> ready
                     unhealthy --check failed--> quarantined
    ready --the fault of too many in a row-----> quarantined
    quarantined --time is over, check passed---> ready
    quarantined --time is over, check failed---> quarantined, for longer

A fault of the lab's own says nothing about a device's abilities, and much about its connection: so
a check must pass before the next job. Every fault and every failed check is a *strike*; work that
was done takes them all back. A quarantine lasts `FIRST_SECONDS`, doubled with each further strike,
and never longer than `LONGEST_SECONDS`: each ends, and then the device is checked once more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from harness.devices.device_state import Condition

if TYPE_CHECKING:
    from datetime import datetime

    from harness.devices.device_state import DeviceState

FIRST_SECONDS: Final = 15 * 60
LONGEST_SECONDS: Final = 24 * 60 * 60
# A device that passes its checks and yet fails at work so often in a row is not checked again.
MOST_STRIKES: Final = 5


def back_off(strikes: int) -> timedelta:
    """How long a quarantine is after so many strikes in a row; the first is one."""
    doublings = min(max(strikes, 1) - 1, LONGEST_SECONDS.bit_length())
    return timedelta(seconds=min(FIRST_SECONDS << doublings, LONGEST_SECONDS))


def after_fault(state: DeviceState, reason: str, now: datetime) -> DeviceState:
    """The lab failed while the device had a job: a check must pass before its next."""
    strikes = state.strikes + 1
    if state.condition is Condition.QUARANTINED or strikes >= MOST_STRIKES:
        return _quarantined(state, strikes, reason, now)
    return _changed(state, Condition.UNHEALTHY, reason, now, strikes=strikes)


def after_check(state: DeviceState, *, passed: bool, reason: str, now: datetime) -> DeviceState:
    """A health check ended; one that failed, and could not be helped, means a quarantine."""
    if not passed:
        return _quarantined(state, state.strikes + 1, reason, now)
    if state.condition is Condition.READY:
        return state
    return _changed(state, Condition.READY, reason, now, strikes=state.strikes)


def after_success(state: DeviceState) -> DeviceState:
    """The device did its work: its strikes are taken back. No check is made up for by that."""
    if state.condition is not Condition.READY or not state.strikes:
        return state
    return state.model_copy(update={"strikes": 0})


def released(state: DeviceState, reason: str, now: datetime) -> DeviceState:
    """Somebody mended the device: its quarantine ends now, and the next job checks it first."""
    if state.condition is not Condition.QUARANTINED:
        return state
    return _changed(state, Condition.UNHEALTHY, reason, now, strikes=0)


def expired(state: DeviceState, now: datetime) -> bool:
    """Whether a quarantine is over: then the device is to be checked like an unhealthy one."""
    # Without an end it would never be over: that is no state of this machine, and it ends at once.
    return state.condition is Condition.QUARANTINED and (state.until is None or state.until <= now)


def needs_check(state: DeviceState) -> bool:
    """Whether a health check must pass before the next job."""
    return state.condition is not Condition.READY


def admitted(state: DeviceState, now: datetime) -> str | None:
    """Why a device may take no job now, in one line; `None`: it may, after a check perhaps."""
    if (reason := why_withheld(state)) is not None:
        return reason
    if state.condition is Condition.QUARANTINED and not expired(state, now):
        until = state.until.astimezone().strftime("%Y-%m-%d %H:%M") if state.until else "?"
        return f"quarantined until {until}: {state.reason}"
    return None


def why_withheld(state: DeviceState) -> str | None:
    """Who keeps the device from use, and why; `None`: nobody does."""
    if state.maintenance is not None:
        return f"in maintenance, says {state.maintenance.by}: {state.maintenance.text}"
    if state.drained is not None:
        return f"drained by {state.drained.by}: {state.drained.text or 'no reason given'}"
    return None


def give_back(state: DeviceState) -> str:
    """What ends the time in which a device takes no job, as a next step."""
    if state.maintenance is not None:
        return f"`tierlab devices note {state.resource} --clear` when the work on it is done"
    if state.drained is not None:
        return f"`tierlab devices undrain {state.resource}` gives it back"
    return (
        f"mend it, then `tierlab devices release {state.resource}`, or wait until it is checked"
        " again"
    )


def _quarantined(state: DeviceState, strikes: int, reason: str, now: datetime) -> DeviceState:
    until = now + back_off(strikes)
    return _changed(state, Condition.QUARANTINED, reason, now, strikes=strikes, until=until)


def _changed(
    state: DeviceState,
    condition: Condition,
    reason: str,
    now: datetime,
    *,
    strikes: int,
    until: datetime | None = None,
) -> DeviceState:
    update: dict[str, Any] = {
        "condition": condition,
        "reason": reason,
        "since": now,
        "until": until,
        "strikes": strikes,
    }
    return state.model_copy(update=update)
