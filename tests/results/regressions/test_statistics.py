"""Ratios with intervals: published values, how often they hold, and what must not matter."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.regressions.statistics import (
    Ratio,
    _depth,
    _mann_whitney,
    _signed_rank,
    fisher_exact,
    more_needed,
    more_pairs_needed,
    paired_ratio,
    ratio,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIZES = st.floats(min_value=1e-3, max_value=1e9)
SAMPLES = st.lists(SIZES, min_size=1, max_size=12)
PAIRS = st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=12)
FACTORS = st.floats(min_value=1e-6, max_value=1e6)
COUNTS = st.integers(min_value=0, max_value=30)


def exponentials(values: Sequence[float]) -> list[float]:
    """Published examples are of differences, which are those of logarithms here."""
    return [math.exp(value) for value in values]


def logarithms(found: Ratio) -> tuple[float, float, float, float]:
    assert found.bounds is not None
    bounds = found.bounds
    return math.log(found.value), math.log(bounds.low), math.log(bounds.high), bounds.confidence


# ---- against what is published ----


def test_the_permeability_of_the_chorioamnion() -> None:
    """Hollander, Wolfe and Chicken, examples 4.3 and 4.4: 0.305, and 96 % from -0.15 to 0.76."""
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    earlier = [1.15, 0.88, 0.90, 0.74, 1.21]
    found = ratio(exponentials(earlier), exponentials(term))
    assert logarithms(found) == pytest.approx((0.305, -0.15, 0.76, 0.96), abs=1e-4)


def test_the_depression_scale() -> None:
    """The same book, examples 3.3 and 3.4: -0.46, and 96 % from -0.786 to -0.010."""
    before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    found = paired_ratio(list(zip(exponentials(before), exponentials(after), strict=True)))
    assert logarithms(found) == pytest.approx((-0.46, -0.786, -0.010, 0.961), abs=1e-4)


@pytest.mark.parametrize(
    ("m", "n", "critical"),
    [
        (4, 4, 0), (3, 5, 0), (2, 8, 0), (5, 5, 2), (8, 8, 13), (10, 10, 23), (9, 15, 34),
        (20, 20, 127),
    ],
)  # fmt: skip
def test_the_table_of_mann_and_whitney(m: int, n: int, critical: int) -> None:
    """Two-sided critical values of U at 0.05, as printed in textbooks."""
    assert _depth(_mann_whitney(m, n)) == critical + 1
    assert _mann_whitney(m, n) == _mann_whitney(n, m)
    assert sum(_mann_whitney(m, n)) == math.comb(m + n, n)


@pytest.mark.parametrize(
    ("n", "critical"),
    [(6, 0), (7, 2), (8, 3), (9, 5), (10, 8), (12, 13), (15, 25), (20, 52), (25, 89), (30, 137)],
)
def test_the_table_of_wilcoxon(n: int, critical: int) -> None:
    """Two-sided critical values of the signed-rank statistic at 0.05."""
    assert _depth(_signed_rank(n)) == critical + 1
    assert sum(_signed_rank(n)) == 2**n


def test_the_lady_tasting_tea() -> None:
    """Fisher: 17 in 70 one way, and as many the other; all eight cups right, 1 in 70."""
    assert fisher_exact(3, 1, 1, 3) == pytest.approx(34 / 70)
    assert fisher_exact(4, 0, 0, 4) == pytest.approx(2 / 70)


def test_a_table_that_is_not_symmetric() -> None:
    """Its two tails have other probabilities, so that one of them is left out."""
    assert fisher_exact(6, 2, 1, 4) == pytest.approx(132 / 1287)


# ---- how many it takes ----


@pytest.mark.parametrize(
    ("baseline", "sample", "more"),
    [(4, 4, 0), (3, 3, 1), (0, 0, 4), (1, 5, 2), (3, 5, 0), (2, 8, 0), (2, 7, 1), (1, 39, 0)],
)
def test_two_samples_too_few_for_an_interval(baseline: int, sample: int, more: int) -> None:
    assert more_needed(baseline, sample) == more
    if baseline and sample:
        found = ratio([1.0] * baseline, [2.0] * sample)
        assert (found.bounds is None) == (more > 0)
        assert found.value == pytest.approx(2.0)


@pytest.mark.parametrize(("pairs", "more"), [(0, 6), (1, 5), (5, 1), (6, 0), (7, 0)])
def test_pairs_too_few_for_an_interval(pairs: int, more: int) -> None:
    assert more_pairs_needed(pairs) == more
    if pairs:
        assert (paired_ratio([(1.0, 2.0)] * pairs).bounds is None) == (more > 0)


@pytest.mark.parametrize("wrong", [[], [0.0], [-1.0], [math.inf], [math.nan]])
def test_what_has_no_ratio(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match=r"no values|positive, finite"):
        ratio(wrong, [1.0])
    with pytest.raises(ValueError, match=r"no values|positive, finite"):
        ratio([1.0], wrong)
    with pytest.raises(ValueError, match=r"no values|positive, finite"):
        paired_ratio([(1.0, value) for value in wrong])


def test_numbers_beyond_all_measure_stay_numbers() -> None:
    assert math.isfinite(ratio([1e-300] * 4, [1e300] * 4).value)
    assert ratio([1e300] * 4, [1e-300] * 4).value > 0


# ---- how often the interval holds the true ratio ----


def lognormal(source: random.Random) -> float:
    return math.exp(source.gauss(0, 0.3))


def skewed(source: random.Random) -> float:
    """Mostly quick, now and then very slow, as loads are while something else runs."""
    return 1 + source.expovariate(3.0) + (5.0 if source.random() < 0.1 else 0.0)


@pytest.mark.parametrize("draw", [lognormal, skewed])
@pytest.mark.parametrize(("m", "n"), [(4, 4), (6, 9), (12, 12)])
def test_coverage_of_two_samples(draw: Callable[[random.Random], float], m: int, n: int) -> None:
    source, times, held, told = random.Random(7), 1500, 0, 0.0  # noqa: S311 - repeatable
    for _ in range(times):
        baseline = [draw(source) for _ in range(m)]
        sample = [1.25 * draw(source) for _ in range(n)]
        bounds = ratio(baseline, sample).bounds
        assert bounds is not None
        held += bounds.low <= 1.25 <= bounds.high
        told = bounds.confidence
    # The confidence is exact: three standard errors around it.
    assert held / times == pytest.approx(told, abs=3 * math.sqrt(0.05 * 0.95 / times))
    assert told >= 0.95


@pytest.mark.parametrize("n", [6, 10, 15])
def test_coverage_of_pairs_whose_conditions_drift(n: int) -> None:
    """Each round is slower than the one before; within a round both sides meet the same."""
    source, times, held, told = random.Random(11), 1500, 0, 0.0  # noqa: S311 - repeatable
    for _ in range(times):
        pairs = [
            (1.1**turn * lognormal(source), 0.8 * 1.1**turn * lognormal(source))
            for turn in range(n)
        ]
        bounds = paired_ratio(pairs).bounds
        assert bounds is not None
        held += bounds.low <= 0.8 <= bounds.high
        told = bounds.confidence
    assert held / times == pytest.approx(told, abs=3 * math.sqrt(0.05 * 0.95 / times))
    assert told >= 0.95


# ---- what must not matter, and what must ----


def same(one: Ratio, other: Ratio) -> None:
    assert one.value == pytest.approx(other.value)
    assert (one.bounds is None) == (other.bounds is None)
    if one.bounds and other.bounds:
        assert one.bounds.low == pytest.approx(other.bounds.low)
        assert one.bounds.high == pytest.approx(other.bounds.high)
        assert one.bounds.confidence == other.bounds.confidence


def inverted(found: Ratio) -> Ratio:
    if found.bounds is None:
        return Ratio(1 / found.value, None)
    bounds = found.bounds
    return Ratio(1 / found.value, type(bounds)(1 / bounds.high, 1 / bounds.low, bounds.confidence))


@given(SAMPLES, SAMPLES)
def test_samples_the_other_way_round(baseline: list[float], sample: list[float]) -> None:
    same(ratio(sample, baseline), inverted(ratio(baseline, sample)))


@given(PAIRS)
def test_pairs_the_other_way_round(pairs: list[tuple[float, float]]) -> None:
    same(paired_ratio([(b, a) for a, b in pairs]), inverted(paired_ratio(pairs)))


@given(SAMPLES, SAMPLES, FACTORS)
def test_the_unit_does_not_matter(
    baseline: list[float], sample: list[float], factor: float
) -> None:
    scaled = ratio([factor * value for value in baseline], [factor * value for value in sample])
    same(scaled, ratio(baseline, sample))


@given(PAIRS, FACTORS)
def test_each_round_may_have_a_pace_of_its_own(
    pairs: list[tuple[float, float]], factor: float
) -> None:
    first, *rest = pairs
    same(paired_ratio([(factor * first[0], factor * first[1]), *rest]), paired_ratio(pairs))


@given(SAMPLES, SAMPLES, FACTORS)
def test_a_faster_sample_is_faster_by_that(
    baseline: list[float], sample: list[float], factor: float
) -> None:
    found, scaled = ratio(baseline, sample), ratio(baseline, [factor * v for v in sample])
    assert scaled.value == pytest.approx(factor * found.value)


@given(SAMPLES, SAMPLES, st.randoms(use_true_random=False))
def test_the_order_of_trials_does_not_matter(
    baseline: list[float], sample: list[float], source: random.Random
) -> None:
    mixed = source.sample(baseline, len(baseline))
    same(ratio(mixed, sample), ratio(baseline, sample))


@given(SAMPLES, SAMPLES)
def test_the_estimate_lies_in_its_interval(baseline: list[float], sample: list[float]) -> None:
    found = ratio(baseline, sample)
    if found.bounds is None:
        assert more_needed(len(baseline), len(sample)) > 0
    else:
        assert found.bounds.low <= found.value <= found.bounds.high
        assert 0.95 <= found.bounds.confidence <= 1


@given(COUNTS, COUNTS, COUNTS, COUNTS)
def test_counts_the_other_way_round(good: int, bad: int, other_good: int, other_bad: int) -> None:
    chance = fisher_exact(good, bad, other_good, other_bad)
    assert 0 < chance <= 1
    assert fisher_exact(other_good, other_bad, good, bad) == chance
    assert fisher_exact(bad, good, other_bad, other_good) == chance
