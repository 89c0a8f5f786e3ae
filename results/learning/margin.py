"""From where on to refuse for want of memory: what parts loads that died from those that ran."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# A dead tab is worse than a capable user who is refused: one of the former weighs as much as four.
_DEATH: Final = 4.0
# How far to stay off what was seen: peaks vary by more than this between loads.
_DISTANCE: Final = 1.02


def margin(ran: Sequence[float], died: Sequence[float], believed: float) -> float:
    """The factor on the expected peak: where the product exceeds the limit, a load is refused.

    Args:
        ran: limit / expected peak of each load that ran.
        died: the same of each that ran out of memory.
        believed: the factor to take where trials do not speak against it.

    Returns:
        The factor nearest to that one in the gap between ratios that parts the two best.
    """
    low, high = _gap(ran, died, believed)
    nearest = min(max(believed, low * _DISTANCE), high / _DISTANCE)
    return nearest if low * _DISTANCE <= high / _DISTANCE else (low * high) ** 0.5


def _gap(ran: Sequence[float], died: Sequence[float], believed: float) -> tuple[float, float]:
    places = sorted({*ran, *died})
    if not places:
        return believed / _DISTANCE, believed * _DISTANCE
    bounds = [min(places[0], believed) / 2, *places, max(places[-1], believed) * 2]

    def rated(gap: tuple[float, float]) -> tuple[float, float]:
        low, high = gap
        refused = sum(ratio <= low for ratio in ran) / max(1, len(ran))
        missed = sum(ratio >= high for ratio in died) / max(1, len(died))
        away = max(low / believed, believed / high, 1.0)
        return round(refused + _DEATH * missed, 9), away

    return min(itertools.pairwise(bounds), key=rated)
