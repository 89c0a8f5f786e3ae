"""What the package makes of a log of slices: pure functions, run by Node.js on made-up logs."""

from __future__ import annotations

import random
import statistics
from typing import Any

import pytest

from tests.harness.probe.node import evaluated

PERIOD_MS = 100.0
KERNELS = {"short": 1.5, "usual": 5.0, "long": 8.0}
Slice = dict[str, Any]


def log(
    duty: float, wall_ms: float, seed: int, *, jitter: float = 0.05, slowing: float = 0.0
) -> list[Slice]:
    """Slices of a thread that runs the first `duty` of each period and is stopped for the rest.

    It begins anywhere in a period. `slowing`: by how much slices grow from the first to the last.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable
    begin = now = dice.uniform(0, PERIOD_MS)
    slices: list[Slice] = []
    while now - begin < wall_ms:
        for kernel, usual in KERNELS.items():
            work = usual * dice.uniform(1 - jitter, 1 + jitter)
            work *= 1 + slowing * min(1.0, (now - begin) / wall_ms)
            start = now
            while work > 0:
                place = now % PERIOD_MS
                left = duty * PERIOD_MS - place
                if left <= 1e-9:
                    now += PERIOD_MS - place
                    continue
                ran = min(left, work)
                now += ran
                work -= ran
            slices.append({"kernel": kernel, "begin": start - begin, "end": now - begin})
    return slices


def of_logs(function: str, logs: list[Any]) -> list[Any]:
    values: list[Any] = evaluated(
        f'const {{ {function} }} = await import("./statistics.js"); return logs.map({function});',
        logs=logs,
    )
    return values


@pytest.mark.parametrize("wall_ms", [500.0, 700.0])
@pytest.mark.parametrize("duty", [0.25, 0.5, 0.75])
def test_the_duty_factor_under_a_quota(duty: float, wall_ms: float) -> None:
    """Quotas of 0.5, 1 and 1.5 processors on two threads, begun anywhere in a period."""
    found = of_logs("dutyOf", [log(duty, wall_ms, seed) for seed in range(200)])
    assert statistics.mean(found) == pytest.approx(duty, rel=0.02)
    assert all(value == pytest.approx(duty, rel=0.1) for value in found)
    assert statistics.mean(abs(value / duty - 1) for value in found) < 0.03


def test_the_duty_factor_of_a_free_device() -> None:
    found = of_logs("dutyOf", [log(1.0, 500, seed) for seed in range(20)])
    assert min(found) > 0.97
    assert max(found) <= 1


def test_a_single_interruption_counts_for_what_it_is() -> None:
    slices = log(1.0, 500, 1, jitter=0)
    at = len(slices) // 3
    for later in slices[at:]:
        later["end"] += 60
    for later in slices[at + 1 :]:
        later["begin"] += 60
    wall = slices[-1]["end"]
    assert of_logs("dutyOf", [slices]) == [pytest.approx((wall - 60) / wall, rel=0.01)]


def test_time_between_slices_is_left_out() -> None:
    slices = log(1.0, 300, 1, jitter=0)
    for later in slices[len(slices) // 2 :]:
        later["begin"] += 500
        later["end"] += 500
    assert of_logs("dutyOf", [slices]) == [pytest.approx(1)]


def test_the_burst_time_when_most_slices_were_stopped() -> None:
    times = [5.0] * 4 + [5.2] * 4 + [80.0] * 12
    (found,) = evaluated('return [(await import("./statistics.js")).burstTime(times)]', times=times)
    assert 5 <= found <= 5.2


def test_the_burst_time_when_all_slices_were_stopped() -> None:
    """What they took in the warm-up tells; caches may have made that a bit faster."""
    found = evaluated(
        """const { burstTime } = await import("./statistics.js");
        return [burstTime([80, 90], 3), burstTime([5, 80, 90], 3), burstTime([5, 6], 3)];"""
    )
    assert found == [3, 5, 5.5]


def test_the_duty_factor_of_few_slices_that_were_all_stopped() -> None:
    slices = [
        {"kernel": kernel, "begin": 80.0 * i, "end": 80.0 * (i + 1), "expected": 8.0}
        for i, kernel in enumerate("abcdefghi")
    ]
    assert of_logs("dutyOf", [slices]) == [pytest.approx(0.1)]
    assert of_logs("undisturbed", [slices]) == [[]]


def test_the_median_of_batches_counts_what_is_in_them() -> None:
    batches = [[[0.2, 256], [9, 1], [0.3, 256], [0.25, 256]], [[5, 1], [0.1, 1], [4, 4]]]
    assert of_logs("weightedMedian", batches) == [0.25, 4]


def test_an_empty_log_says_nothing() -> None:
    assert of_logs("dutyOf", [[]]) == [1]
    assert of_logs("driftOf", [[]]) == [None]


@pytest.mark.parametrize("slowing", [0.0, 0.5])
@pytest.mark.parametrize("duty", [0.5, 1.0])
def test_the_drift_of_a_device_that_slows_down(duty: float, slowing: float) -> None:
    """The last third is 5/6 of the way in the middle, the first 1/6; stalls are no drift."""
    found = of_logs("driftOf", [log(duty, 600, seed, slowing=slowing) for seed in range(50)])
    expected = (1 + slowing * 5 / 6) / (1 + slowing / 6)
    assert statistics.mean(found) == pytest.approx(expected, rel=0.03)
