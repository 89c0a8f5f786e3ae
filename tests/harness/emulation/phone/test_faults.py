from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.emulation.phone.commands import parse_action
from harness.emulation.phone.faults import ACTIONS, RANDOM_KINDS, Fault, FaultPlan, amounts
from harness.errors import UserError

if TYPE_CHECKING:
    from pydantic import JsonValue


@settings(deadline=None)
@given(st.integers(), st.integers(0, 40), st.floats(0.1, 1e4))
def test_a_plan_is_a_pure_function_of_its_seed_and_asks_for_nothing_that_is_refused(
    seed: int, count: int, within: float
) -> None:
    plan = FaultPlan.from_seed(seed, count=count, within_seconds=within)
    assert plan == FaultPlan.from_seed(seed, count=count, within_seconds=within)
    assert len(plan.faults) == count
    times = [fault.at_seconds for fault in plan.faults]
    assert times == sorted(times)
    assert all(0 <= at <= within + 0.001 for at in times)
    for fault in plan.faults:
        amounts(fault.action, fault.arguments)


def test_this_seed_means_this_plan_for_ever() -> None:
    plan = FaultPlan.from_seed(7, count=3, within_seconds=60)
    assert plan == FaultPlan.scripted(EXPECTED)
    assert plan != FaultPlan.from_seed(8, count=3, within_seconds=60)


EXPECTED = [
    Fault(2.25, "reboot", {"seconds": 0.396}),
    Fault(19.43, "unplug", {"seconds": 2.023}),
    Fault(32.153, "offline", {"seconds": 0.362}),
]


def test_every_kind_comes() -> None:
    plan = FaultPlan.from_seed(1, count=100, within_seconds=1)
    assert {fault.action for fault in plan.faults} == set(RANDOM_KINDS)


def test_a_plan_is_played_in_the_order_of_its_times() -> None:
    done: list[tuple[str, dict[str, JsonValue]]] = []

    async def control(action: str, **arguments: JsonValue) -> None:
        done.append((action, arguments))

    told: list[Fault] = []
    plan = FaultPlan.scripted([Fault(0.02, "reboot"), Fault(0.01, "unplug", {"seconds": 1})])
    asyncio.run(plan.play(control, told.append))
    assert done == [("unplug", {"seconds": 1}), ("reboot", {})]
    assert tuple(told) == plan.faults


def test_a_fault_that_a_crash_swallowed_is_asked_for_again_but_not_for_ever() -> None:
    tries: list[str] = []

    async def control(action: str, **_arguments: JsonValue) -> None:
        tries.append(action)
        if action == "refused" or len(tries) < 2:
            raise UserError("the virtual phone crashed and starts again")

    asyncio.run(FaultPlan.scripted([Fault(0, "unplug")]).play(control))
    assert tries == ["unplug", "unplug"]
    tries.clear()
    with pytest.raises(UserError):
        asyncio.run(FaultPlan.scripted([Fault(0, "refused")]).play(control))
    assert tries == ["refused"] * 3


def test_defaults_are_filled_in() -> None:
    assert amounts("slow", {"seconds": 2}) == {"bytes_per_second": 1e6, "seconds": 2.0}
    assert amounts("kill_daemon", {}) == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"second": 3}, "unknown argument of unplug 'second'\n  -> did you mean seconds?"),
        ({"seconds": "3"}, "unplug: seconds is '3'\n  -> give a number"),
        ({"seconds": True}, "unplug: seconds is True\n  -> give a number"),
        ({"seconds": -1}, "unplug: seconds is -1\n  -> give a number from 0 to 3600"),
        ({"seconds": float("nan")}, "unplug: seconds is nan\n  -> give a number"),
    ],
)
def test_arguments_that_are_not_right_say_why(arguments: dict[str, JsonValue], words: str) -> None:
    with pytest.raises(UserError) as raised:
        amounts("unplug", arguments)
    assert str(raised.value) == words


@settings(deadline=None)
@given(
    st.sampled_from(sorted(ACTIONS)), st.dictionaries(st.text(max_size=9), st.none() | st.text())
)
def test_nothing_but_the_documented_error(action: str, arguments: dict[str, JsonValue]) -> None:
    with contextlib.suppress(UserError):
        amounts(action, arguments)


def test_a_typed_action() -> None:
    assert parse_action("unplug seconds=3\n") == ("unplug", {"seconds": 3})
    assert parse_action('kill process=renderer why="a b"') == (
        "kill",
        {"process": "renderer", "why": "a b"},
    )
    assert parse_action("\n") == ("", {})
    for line in ("unplug 3", 'unplug "seconds'):
        with pytest.raises(UserError):
            parse_action(line)
