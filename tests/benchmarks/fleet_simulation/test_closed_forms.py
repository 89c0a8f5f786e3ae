"""Where the answer is known: bounds of list scheduling, M/D/1, retries, a shared link."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fleet_simulation.lab import Request
from benchmarks.fleet_simulation.policy import Health, Order, Policy
from tests.benchmarks.fleet_simulation.labs import NEVER, night, one_profile, requests

_TIMES = st.lists(st.integers(1, 100).map(float), min_size=1, max_size=30)


def _policy(order: Order = Order.LONGEST, **more: int) -> Policy:
    return Policy(order=order, health=Health.NONE, deadline_seconds=NEVER, **more)


@settings(max_examples=60, deadline=None)
@given(_TIMES, st.integers(1, 6), st.sampled_from(Order))
def test_no_order_takes_longer_than_grahams_bound(
    times: list[float], phones: int, order: Order
) -> None:
    """R. L. Graham, 1966: (work + (m - 1) x longest) / m."""
    outcome = night(one_profile(requests(times), phones), _policy(order))
    assert outcome.recorded == len(times)
    assert outcome.makespan >= outcome.lower_bound - 1e-9
    assert outcome.makespan <= (sum(times) + (phones - 1) * max(times)) / phones + 1e-9


@pytest.mark.parametrize("m", [2, 3, 5, 8])
def test_longest_first_is_as_bad_as_it_can_be_where_graham_says(m: int) -> None:
    """R. L. Graham, 1969: 4m - 1 where 3m is possible, which is the ratio 4/3 - 1/(3m)."""
    times = [float(t) for t in range(m + 1, 2 * m) for _ in range(2)] + [float(m)] * 3
    outcome = night(one_profile(requests(times), m), _policy())
    assert outcome.makespan == 4 * m - 1
    assert outcome.lower_bound == 3 * m


@pytest.mark.parametrize("m", [2, 4, 7])
def test_first_come_first_served_may_take_nearly_twice_as_long(m: int) -> None:
    times = [1.0] * (m * (m - 1)) + [float(m)]
    lab = one_profile(requests(times), m)
    assert night(lab, _policy(Order.FIFO)).makespan == 2 * m - 1
    assert night(lab, _policy()).makespan == m == night(lab, _policy()).lower_bound


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_phone_is_a_queue_that_pollaczek_and_khinchine_knew(load: float) -> None:
    """Poisson arrivals, all trials equally long: they wait load / (2 (1 - load)) of one trial."""
    chance = random.Random(4)  # noqa: S311 - no secret
    at, asked = 0.0, []
    for number in range(20_000):
        at += chance.expovariate(load)
        asked.append(Request(number, expected_seconds=1.0, seconds=1.0, asked_at=at))
    outcome = night(one_profile(asked, 1), _policy(Order.FIFO))
    assert outcome.recorded == len(asked)
    assert outcome.queue_wait / len(asked) == pytest.approx(load / (2 * (1 - load)), rel=0.06)


@pytest.mark.parametrize(("rate", "retries"), [(0.5, 0), (0.5, 2), (0.2, 1)])
def test_requests_are_given_up_as_often_as_all_their_tries_fail(rate: float, retries: int) -> None:
    count = 4_000
    lab = one_profile(requests([10.0] * count), 20, fault_rate=rate)
    outcome = night(lab, _policy(infra_retries=retries), stuck_share=0)
    assert outcome.lost / count == pytest.approx(rate ** (retries + 1), rel=0.15)
    tries = outcome.tries["infra"] + outcome.tries["recorded"]
    assert tries / count == pytest.approx((1 - rate ** (retries + 1)) / (1 - rate), rel=0.05)
    # A fault comes at any time of a try: half of it on average is lost.
    assert outcome.wasted / outcome.tries["infra"] == pytest.approx(5.0, rel=0.05)


@pytest.mark.parametrize("links", [1, 3])
def test_a_usb_connection_that_all_share_sets_the_pace(links: int) -> None:
    asked = [Request(n, 1.0, 1.0, file_bytes=300_000_000) for n in range(120)]
    outcome = night(one_profile(asked, 30), usb_bytes_per_s=30e6, usb_links=links)
    # 10 s each, and the last one still has to run.
    assert outcome.lower_bound == pytest.approx(120 * 10 / links)
    assert outcome.makespan == pytest.approx(120 * 10 / links + 1)


def test_one_controller_that_takes_its_time_sets_the_pace() -> None:
    outcome = night(one_profile(requests([5.0] * 200), 100), dispatch_seconds=2.0)
    assert outcome.makespan == pytest.approx(200 * 2 + 5)
