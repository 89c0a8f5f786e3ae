from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.devices.device_state import Condition, DeviceState, Note
from harness.devices.health import (
    FIRST_SECONDS,
    LONGEST_SECONDS,
    MOST_STRIKES,
    admitted,
    after_check,
    after_fault,
    after_success,
    back_off,
    expired,
    needs_check,
    released,
)

START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
FRESH = DeviceState(resource="phone-A1", since=START)
NOTE = Note(text="new cable", by="ada", at=START)


def after_faults(count: int) -> DeviceState:
    state = FRESH
    for _ in range(count):
        state = after_fault(state, "unplugged", START)
        if state.condition is Condition.UNHEALTHY:
            state = after_check(state, passed=True, reason="it answers", now=START)
    return state


def test_a_fault_asks_for_a_check_and_a_passed_check_is_enough() -> None:
    state = after_fault(FRESH, "unplugged", START)
    assert (state.condition, state.reason, state.since) == (
        Condition.UNHEALTHY,
        "unplugged",
        START,
    )
    assert needs_check(state)
    assert admitted(state, START) is None
    state = after_check(state, passed=True, reason="it answers", now=START)
    assert not needs_check(state)
    assert (state.strikes, after_success(state).strikes) == (1, 0)


def test_a_failed_check_is_a_quarantine_that_says_why_and_until_when() -> None:
    state = after_fault(FRESH, "unplugged", START)
    state = after_check(state, passed=False, reason="adb does not see it", now=START)
    assert state.until == START + back_off(2)
    refused = admitted(state, START)
    assert refused is not None
    assert state.until is not None
    until = state.until.astimezone()  # as the clock of whoever reads it says
    assert refused == f"quarantined until {until:%Y-%m-%d %H:%M}: adb does not see it"
    assert admitted(state, state.until) is None
    assert needs_check(state)


def test_faults_in_a_row_are_a_quarantine_although_every_check_passed() -> None:
    assert after_faults(MOST_STRIKES - 1).condition is Condition.READY
    assert after_faults(MOST_STRIKES).condition is Condition.QUARANTINED


def test_the_back_off_doubles_up_to_a_day() -> None:
    seconds = [back_off(strikes).total_seconds() for strikes in range(1, 12)]
    assert seconds[:3] == [FIRST_SECONDS, 2 * FIRST_SECONDS, 4 * FIRST_SECONDS]
    assert seconds == sorted(seconds)
    assert seconds[-1] == LONGEST_SECONDS
    assert back_off(10**9).total_seconds() == LONGEST_SECONDS


def test_who_mended_a_device_need_not_wait_but_the_check_remains() -> None:
    state = after_check(FRESH, passed=False, reason="hot", now=START)
    state = released(state, "ada put it into the fridge", START)
    assert admitted(state, START) is None
    assert needs_check(state)
    assert released(FRESH, "ada", START) is FRESH


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("drained", "drained by ada: new cable"),
        ("maintenance", "in maintenance, says ada: new cable"),
    ],
)
def test_people_come_before_everything(field: str, words: str) -> None:
    assert admitted(FRESH.model_copy(update={field: NOTE}), START) == words


class Device(RuleBasedStateMachine):
    """One device over months, whatever happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = FRESH
        self.now = START
        self.checked = True  # since the last fault, by a check that passed
        self.back_offs: list[timedelta] = []

    def step(self, state: DeviceState) -> None:
        entered = state.condition is Condition.QUARANTINED and state is not self.state
        if entered and state.until is not None and state.until != self.state.until:
            self.back_offs.append(state.until - self.now)
        self.state = state

    @rule(seconds=st.integers(1, 2 * LONGEST_SECONDS))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def fault(self) -> None:
        self.step(after_fault(self.state, "unplugged", self.now))
        self.checked = False

    @rule(passed=st.booleans())
    def check(self, passed: bool) -> None:
        self.step(after_check(self.state, passed=passed, reason="a check", now=self.now))
        self.checked = passed

    @rule()
    def success(self) -> None:
        ready = self.state.condition is Condition.READY
        before = self.state
        self.step(after_success(self.state))
        if ready:
            assert self.state.strikes == 0
            self.back_offs.clear()
        else:
            assert self.state == before

    @rule()
    def drain(self) -> None:
        self.step(self.state.model_copy(update={"drained": NOTE}))

    @rule()
    def maintain(self) -> None:
        self.step(self.state.model_copy(update={"maintenance": NOTE}))

    @rule()
    def undrain(self) -> None:
        self.step(self.state.model_copy(update={"drained": None, "maintenance": None}))

    @precondition(lambda self: self.state.condition is Condition.QUARANTINED)
    @rule()
    def release(self) -> None:
        self.step(released(self.state, "mended", self.now))
        self.back_offs.clear()

    @invariant()
    def nothing_is_ready_without_a_passed_check(self) -> None:
        if self.state.condition is Condition.READY:
            assert self.checked

    @invariant()
    def a_quarantine_always_expires(self) -> None:
        if self.state.condition is not Condition.QUARANTINED:
            assert self.state.until is None
            return
        assert self.state.until is not None
        assert self.state.until - self.state.since <= timedelta(seconds=LONGEST_SECONDS)
        assert expired(self.state, self.state.until)
        free = self.state.model_copy(update={"drained": None, "maintenance": None})
        assert admitted(free, self.state.until) is None

    @invariant()
    def the_back_off_grows_until_work_was_done(self) -> None:
        seconds = [each.total_seconds() for each in self.back_offs]
        for before, after in pairwise(seconds):
            assert after == LONGEST_SECONDS or after > before

    @invariant()
    def a_device_that_people_took_away_takes_no_job(self) -> None:
        if self.state.drained or self.state.maintenance:
            assert admitted(self.state, self.now) is not None


TestDevice = Device.TestCase
TestDevice.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
