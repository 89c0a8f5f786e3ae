from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.learning.quantiles import band, weighted_quantile

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


@given(VALUES, st.floats(0.01, 1))
def test_so_much_lies_at_or_below_a_quantile(values: list[float], share: float) -> None:
    found = weighted_quantile(np.array(values), np.ones(len(values)), share)
    below = sum(value < found for value in values) / len(values)
    up_to = sum(value <= found for value in values) / len(values)
    assert found in values
    assert up_to >= share - 1e-6
    assert below < share + 1e-6


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 4)), min_size=1, max_size=12))
def test_a_weight_counts_as_that_many_values(pairs: list[tuple[float, int]]) -> None:
    values, weights = zip(*pairs, strict=True)
    many = np.repeat(values, weights)
    for share in (0.1, 0.5, 0.9):
        assert weighted_quantile(
            np.array(values), np.array(weights, dtype=float), share
        ) == weighted_quantile(many, np.ones(len(many)), share)


@pytest.mark.parametrize("values", [[], [1.0]])
def test_without_weight_there_is_no_quantile(values: list[float]) -> None:
    with pytest.raises(ValueError, match="a value that counts"):
        weighted_quantile(np.array(values), np.zeros(len(values)), 0.5)


def test_a_band_needs_ratios_above_nothing() -> None:
    with pytest.raises(ValueError, match="above 0"):
        band(np.array([1.0, 0.0]), np.ones(2))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=80))
def test_a_band_is_around_what_is_expected(ratios: list[float]) -> None:
    low, high = band(np.array(ratios), np.ones(len(ratios)))
    assert 0 < low <= 1 <= high < math.inf


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=39))
def test_of_few_it_is_symmetrical(ratios: list[float]) -> None:
    low, high = band(np.array(ratios), np.ones(len(ratios)))
    assert low * high == pytest.approx(1)


@pytest.mark.parametrize("count", [5, 20, 60, 200])
def test_it_holds_the_next_one_as_often_as_it_says(count: int) -> None:
    chance = np.random.default_rng(count)
    held = 0
    for _ in range(400):
        ratios = np.exp(chance.normal(0, 0.2, size=count))
        low, high = band(ratios, np.ones(count))
        held += low <= math.exp(chance.normal(0, 0.2)) <= high
    assert 0.85 <= held / 400 <= 0.97


def test_one_that_is_far_off_widens_it() -> None:
    ratios = np.array([1.0, 1.05, 0.95, 1.02, 0.99, 1.01])
    before = band(ratios, np.ones(6))
    after = band(np.array([*ratios, 2.0]), np.ones(7))
    assert after[1] > before[1]
    assert after[0] < before[0]
