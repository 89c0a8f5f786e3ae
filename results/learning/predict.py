"""What fitted factors say of an observation: the same sum as the probe's own prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.calibration import Fit
    from results.observation import Observation

PREFILL_TERM: Final = "prefill"
"""The term of the first token that is itself a prediction."""


def weighted_sum(
    bases: Mapping[str, float], factors: Mapping[str, float], quantisation: str
) -> float | None:
    """`sum(factor * base)`, or None where it cannot be told.

    That is where a base is missing whose factor is above 0, where a term of the quantisation has
    no factor while one of another quantisation has, and where nothing is left to add up.
    """
    total = 0.0
    for term, factor in factors.items():
        group, dot, of = term.partition(".")
        if dot and of != quantisation:
            if factor > 0 and group + dot + quantisation not in factors:
                return None
            continue
        if factor > 0:
            base = bases.get(term)
            if base is None or not math.isfinite(base):
                return None
            total += factor * base
    return total if total > 0 else None


def bases_of(
    observation: Observation, quantity: Quantity, fits: Mapping[Quantity, Fit]
) -> Mapping[str, float]:
    """The bases of a quantity, with the first token's prefill as these fits predict it."""
    bases = observation.terms.get(quantity, {})
    prefill = fits.get(Quantity.PREFILL)
    if quantity is not Quantity.FIRST_TOKEN or prefill is None or PREFILL_TERM not in bases:
        return bases
    seconds = weighted_sum(
        observation.terms.get(Quantity.PREFILL, {}), prefill.factors, observation.quantisation
    )
    return bases if seconds is None else {**bases, PREFILL_TERM: seconds}


def expected_value(
    observation: Observation, quantity: Quantity, fits: Mapping[Quantity, Fit]
) -> float | None:
    """The predicted seconds (bytes of memory), or None where it is unknown."""
    fit = fits.get(quantity)
    if fit is None:
        return None
    bases = bases_of(observation, quantity, fits)
    return weighted_sum(bases, fit.factors, observation.quantisation)


def needed_bytes(observation: Observation, fits: Mapping[Quantity, Fit]) -> float | None:
    """The memory to hold against a limit: refuse where it exceeds the limit; None is unknown."""
    expected = expected_value(observation, Quantity.MEMORY, fits)
    if expected is None:
        return None
    return expected * (fits[Quantity.MEMORY].margin or 1.0)
