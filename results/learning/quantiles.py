"""Quantiles of weighted values, and the bands that hold for a device that was not seen.

Conformal prediction (V. Vovk et al., "Algorithmic Learning in a Random World", 2005) over the
residuals of fits that left the value's device out (R. Barber et al., "Predictive inference with the
jackknife+", Ann. Statist. 49, 2021): the band between two order statistics of m exchangeable ratios
holds the next one as often as its ranks say.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

COVERAGE: Final = 0.9
"""How often a band is to hold the measured value."""

# From so many on, both ends have ranks of their own: below, 5 % at each end are less than 2 values.
_BOTH_ENDS: Final = 40
# How far beyond the largest residual a rank is believed to lie that so few do not have.
_BEYOND: Final = 1.25
_ROUNDING: Final = 1e-9


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The least value at or below which that share of the weights lies; the largest beyond it.

    Raises:
        ValueError: there is no value, or no weight.
    """
    total = float(weights.sum()) if len(values) else 0.0
    if total <= 0:
        raise ValueError("a quantile needs a value that counts")
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, share * total * (1 - _ROUNDING)))
    return float(values[order][min(place, len(values) - 1)])


def band(ratios: Floats, weights: Floats, coverage: float = COVERAGE) -> tuple[float, float]:
    """The band of measured / predicted that holds the next ratio `coverage` of the time.

    Args:
        ratios: measured / predicted, each by a fit that has not seen its device.
        weights: how much each counts; their sum is the number of independent ones.
        coverage: how often the band is to hold.

    Returns:
        Low and high, with 1 between them. Symmetrical in logarithms where there are few.

    Raises:
        ValueError: there is no ratio, or one is not above 0.
    """
    if not len(ratios) or float(ratios.min()) <= 0:
        raise ValueError("a band needs ratios above 0")
    logs, count = np.log(ratios), float(weights.sum())
    if count < _BOTH_ENDS:
        size = _ranked(np.abs(logs), weights, count, coverage)
        return math.exp(-size), math.exp(size)
    tail = (1 + coverage) / 2
    high = _ranked(logs, weights, count, tail)
    low = -_ranked(-logs, weights, count, tail)
    return math.exp(min(low, 0.0)), math.exp(max(high, 0.0))


def _ranked(values: Floats, weights: Floats, count: float, share: float) -> float:
    """The value of rank `share * (count + 1)`: one more than there are, as the next one counts."""
    rank = share * (count + 1) / count
    largest = weighted_quantile(values, weights, min(rank, 1.0))
    return largest if rank <= 1 else largest * _BEYOND
