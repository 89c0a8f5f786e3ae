"""From where on to refuse for want of memory: what parts loads that died from those that ran."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# A dead tab is worse than a capable user who is refused: one of the former weighs as much as four.
_DEATH: Final = 4.0
# What the limit must leave where no load died: the peak varies by so much between loads.
_NO_DEATHS: Final = 1.0


def margin(ran: Sequence[float], died: Sequence[float]) -> float:
    """The factor on the expected peak beyond which a load is refused.

    Args:
        ran: limit / expected peak of each load that ran.
        died: the same of each that ran out of memory.

    Returns:
        The middle (of logarithms) of the widest gap that parts the two best; 1 where none died,
        and where none ran a little above the largest that died.
    """
    if not died:
        return min([_NO_DEATHS, *ran])
    if not ran:
        return max(1.0, max(died) * 1.05)
    places = sorted({*ran, *died})
    bounds = [places[0] / 1.05, *places, places[-1] * 1.05]
    gaps = list(itertools.pairwise(bounds))

    def rated(gap: tuple[float, float]) -> tuple[float, float]:
        low, high = gap
        refused = sum(ratio < high for ratio in ran)
        missed = sum(ratio > low for ratio in died)
        cost = refused / len(ran) + _DEATH * missed / len(died)
        return round(cost, 9), -high / low

    low, high = min(gaps, key=rated)
    return math.sqrt(low * high)
