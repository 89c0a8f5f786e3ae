"""Devices that are alike, by the rates of the probe's kernels, and what they teach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from results.observation import Quantity

NEIGHBOURS: Final = 3
PRIOR: Final = 2.0
"""How many loads that were predicted exactly the belief in the calibration weighs."""

# Fewer kernels in common, and nearness means nothing.
_LEAST_COMMON: Final = 2
# A device that differs by a factor of two in every rate counts half.
_HALF: Final = 1.0


@dataclass(frozen=True, slots=True)
class Known:
    """One load that was measured and predicted before."""

    device: str
    recipe: str
    quantity: Quantity
    ratio: float
    """measured / predicted"""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A device, and how far it is: the root mean square of log2 of the ratios of rates."""

    device: str
    distance: float

    @property
    def weight(self) -> float:
        """How much it counts, from 1 at no distance."""
        return 1 / (1 + self.distance / _HALF)


def distance(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """The root mean square difference over the kernels both have, None where those are too few."""
    common = one.keys() & other.keys()
    if len(common) < _LEAST_COMMON:
        return None
    return math.sqrt(math.fsum((one[name] - other[name]) ** 2 for name in common) / len(common))


def neighbours(
    vector: Mapping[str, float],
    database: Mapping[str, Mapping[str, float]],
    k: int = NEIGHBOURS,
) -> list[Neighbour]:
    """The k devices nearest to a report, nearest first; `database` has a vector a device."""
    found = [
        Neighbour(device, away)
        for device, other in database.items()
        if (away := distance(vector, other)) is not None
    ]
    return sorted(found, key=lambda one: (one.distance, one.device))[:k]


def vectors(pairs: Iterable[tuple[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """One vector a device: for each kernel the median of its reports."""
    rates: dict[str, dict[str, list[float]]] = {}
    for device, vector in pairs:
        for name, rate in vector.items():
            rates.setdefault(device, {}).setdefault(name, []).append(rate)
    return {
        device: {name: median(values) for name, values in sorted(of.items())}
        for device, of in sorted(rates.items())
    }


def correction(
    known: Sequence[Known],
    weights: Mapping[str, float],
    recipe: str,
    quantity: Quantity,
    prior: float = PRIOR,
) -> float:
    """The factor on a prediction that earlier loads speak for; 1 without any.

    The geometric mean of measured / predicted of the same engine and quantity on these devices,
    drawn towards 1 as if `prior` further loads had been predicted exactly.
    """
    total = weight = 0.0
    for one in known:
        if one.recipe == recipe and one.quantity is quantity and one.ratio > 0:
            counts = weights.get(one.device, 0.0)
            total += counts * math.log(one.ratio)
            weight += counts
    return math.exp(total / (weight + prior)) if weight else 1.0
