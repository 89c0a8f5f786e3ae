"""What can be said of few, noisy measurements without assuming how the noise is distributed.

Two samples are compared by the *ratio* of the one to the other, which is a shift of their
logarithms: the Hodges-Lehmann estimate, with the interval that belongs to it.

    `ratio`          two independent samples: the median of all differences, and the interval from
                     the Mann-Whitney distribution (Moses)
    `paired_ratio`   measurements made in pairs, such as the two of one round: the median of the
                     Walsh averages, and the interval from the signed-rank distribution (Tukey)
    `fisher_exact`   counts, such as loads that ended well and those that did not

The distributions are exact: whole numbers, counted, at any sample size. Formulas: Hollander, Wolfe,
Chicken, *Nonparametric Statistical Methods*, 3rd edition (2014), sections 3.2, 3.3, 4.2 and 4.3;
Fisher, *The Design of Experiments* (1935), section 11.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, combinations_with_replacement, count, product
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

ONE_IN: Final = 40
"""How often an interval may miss what it is for at either end: once in so many times."""

ERROR: Final = 2 / ONE_IN
"""How often at both ends together: 5 %."""

# What a broken page calls a speed may be any number; a ratio stays one that can be written down.
_LARGEST: Final = math.log(1e300)


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval, and how often such intervals hold the true value: at least 19 times in 20."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as large a sample is as its baseline; no interval where they are too few."""

    value: float
    bounds: Bounds | None


def ratio(baseline: Sequence[float], sample: Sequence[float]) -> Ratio:
    """The ratio of two independent samples of positive values.

    With the samples the other way round everything is inverted.

    Raises:
        ValueError: a sample is empty, or a value is not positive and finite.
    """
    below, above = _logarithms(baseline), _logarithms(sample)
    differences = sorted(high - low for low, high in product(below, above))
    return _estimate(differences, _mann_whitney(*sorted((len(below), len(above)))))


def paired_ratio(pairs: Sequence[tuple[float, float]]) -> Ratio:
    """The ratio of the second values of pairs to the first; all are positive.

    Raises:
        ValueError: there are no pairs, or a value is not positive and finite.
    """
    first, second = (_logarithms([pair[i] for pair in pairs]) for i in (0, 1))
    differences = [high - low for low, high in zip(first, second, strict=True)]
    walsh = sorted((a + b) / 2 for a, b in combinations_with_replacement(differences, 2))
    return _estimate(walsh, _signed_rank(len(pairs)))


@cache
def more_needed(baseline: int, sample: int) -> int:
    """How many values each of two samples lacks before there is an interval; 0 where there is."""
    orders = (math.comb(baseline + sample + 2 * k, sample + k) for k in count())
    return next(k for k, number in enumerate(orders) if number >= ONE_IN)


def more_pairs_needed(pairs: int) -> int:
    """How many pairs are lacking before there is an interval; 0 where there is one."""
    return next(k for k in count() if 2 ** (pairs + k) >= ONE_IN)


def fisher_exact(good: int, bad: int, other_good: int, other_bad: int) -> float:
    """How often two samples of one kind differ by as much or more, in either direction.

    That is the share of all tables with these margins that are no more probable than this one.
    """
    n, other_n, all_good = good + bad, other_good + other_bad, good + other_good
    tables = [
        math.comb(n, k) * math.comb(other_n, all_good - k)
        for k in range(max(0, all_good - other_n), min(n, all_good) + 1)
    ]
    observed = math.comb(n, good) * math.comb(other_n, other_good)
    return sum(table for table in tables if table <= observed) / sum(tables)


def _logarithms(values: Sequence[float]) -> list[float]:
    if not values:
        raise ValueError("there are no values")
    if not all(0 < value < math.inf for value in values):
        raise ValueError("a ratio is of positive, finite values")
    return [math.log(value) for value in values]


def _estimate(ordered: list[float], counts: tuple[int, ...]) -> Ratio:
    """The median of ordered differences of logarithms, between the two that the counts leave."""
    value, depth = _factor(median(ordered)), _depth(counts)
    if not depth:
        return Ratio(value, None)
    missed = 2 * sum(counts[:depth]) / sum(counts)
    low, high = _factor(ordered[depth - 1]), _factor(ordered[-depth])
    return Ratio(value, Bounds(low, high, confidence=1 - missed))


def _factor(difference: float) -> float:
    return math.exp(max(-_LARGEST, min(difference, _LARGEST)))


def _depth(counts: tuple[int, ...]) -> int:
    """How many values of a distribution its lower tail may hold."""
    every = sum(counts)
    return next(k for k, tail in enumerate(accumulate(counts)) if ONE_IN * tail > every)


@cache
def _mann_whitney(m: int, n: int) -> tuple[int, ...]:
    """In how many of the orders of m + n values the statistic U is 0, 1, 2, ...

    The generating function is the Gaussian binomial coefficient: the product of
    (1 - q^(m+i)) / (1 - q^i) for i = 1 ... n.
    """
    size = m * n + 1
    counts = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for u in reversed(range(m + i, size)):
            counts[u] -= counts[u - m - i]
        for u in range(i, size):
            counts[u] += counts[u - i]
    return tuple(counts)


@cache
def _signed_rank(n: int) -> tuple[int, ...]:
    """In how many of the 2^n choices of signs the positive ranks add up to 0, 1, 2, ..."""
    size = n * (n + 1) // 2 + 1
    counts = [1] + [0] * (size - 1)
    for rank in range(1, n + 1):
        for total in reversed(range(rank, size)):
            counts[total] += counts[total - rank]
    return tuple(counts)
