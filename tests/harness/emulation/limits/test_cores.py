from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.emulation.limits import Limits
from harness.emulation.limits.cores import (
    CpuPlan,
    choose_cores,
    format_cores,
    parse_cores,
    plan_cpus,
)
from harness.errors import UserError

BOTH = {"cpuset", "cpu"}


def test_lists_as_the_kernel_writes_them() -> None:
    assert parse_cores("0-3,8\n") == {0, 1, 2, 3, 8}
    assert parse_cores("\n") == set()


@given(st.sets(st.integers(min_value=0, max_value=1023)))
def test_core_lists_come_back(cores: set[int]) -> None:
    assert parse_cores(format_cores(cores)) == cores


def test_cores_that_others_use_come_last() -> None:
    assert choose_cores({0, 1, 2, 3}, 2, taken=[0, 1]) == (2, 3)
    assert choose_cores({0, 1, 2, 3}, 3, taken=[0, 0, 1, 2]) == (1, 2, 3)


@given(
    st.sets(st.integers(0, 63), min_size=1),
    st.lists(st.integers(0, 63)),
    st.floats(min_value=0.01, max_value=64),
)
def test_a_plan_gives_what_was_asked_for_or_refuses(
    allowed: set[int], taken: list[int], cpus: float
) -> None:
    if math.ceil(cpus) > len(allowed):
        with pytest.raises(UserError, match="may use"):
            plan_cpus(cpus, allowed=allowed, taken=taken, controllers=BOTH)
        return
    plan = plan_cpus(cpus, allowed=allowed, taken=taken, controllers=BOTH)
    assert plan.cores is not None
    assert set(plan.cores) <= allowed
    assert len(plan.cores) == math.ceil(cpus)
    assert plan.quota == (None if cpus == int(cpus) else cpus)


@given(st.integers(1, 8), st.floats(min_value=0.01, max_value=8))
def test_more_processors_than_cores_of_work_take_a_quota(processors: int, cpus: float) -> None:
    if processors < cpus:
        with pytest.raises(UserError, match="cannot give"):
            Limits(cpus=cpus, processors=processors)
        return
    assert Limits(cpus=cpus, processors=processors).processors == processors
    plan = plan_cpus(cpus, processors=processors, allowed=range(8), taken=(), controllers=BOTH)
    assert plan.cores == tuple(range(processors))
    assert plan.quota == (None if processors == cpus else cpus)


def test_processors_that_are_not_there_are_refused() -> None:
    with pytest.raises(UserError, match="2 cores were asked for"):
        plan_cpus(1, processors=2, allowed={0}, taken=(), controllers=BOTH)
    with pytest.raises(UserError, match="the cpu controller"):
        plan_cpus(1, processors=2, allowed={0, 1}, taken=(), controllers={"cpuset"})


def test_plans_with_one_controller_only() -> None:
    assert plan_cpus(2, allowed={0, 1}, taken=(), controllers={"cpu"}) == CpuPlan(quota=2)
    assert plan_cpus(2, allowed={0, 1}, taken=(), controllers={"cpuset"}) == CpuPlan(cores=(0, 1))
    with pytest.raises(UserError, match="the cpu controller") as caught:
        plan_cpus(1.5, allowed={0, 1}, taken=(), controllers={"cpuset"})
    assert "whole number" in caught.value.next_step
    with pytest.raises(UserError, match="cpu and the cpuset controller"):
        plan_cpus(1, allowed={0, 1}, taken=(), controllers=())


def test_no_limit_needs_nothing() -> None:
    assert plan_cpus(None, allowed=(), taken=(), controllers=()) == CpuPlan()


@pytest.mark.parametrize("cpus", [0, -1, 0.001, math.inf, math.nan])
def test_limits_that_make_no_sense(cpus: float) -> None:
    with pytest.raises(UserError, match="makes no sense"):
        Limits(cpus=cpus)
    with pytest.raises(UserError, match="makes no sense"):
        Limits(memory_bytes=0)


def test_processors_without_a_limit_of_cores() -> None:
    with pytest.raises(UserError, match="give cpus as well"):
        Limits(processors=1)
