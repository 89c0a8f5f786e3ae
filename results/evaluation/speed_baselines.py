"""Simpler ways to foretell times and memory, each fitted on the same folds as the probe's own.

Each is one figure times one factor, which is the median of measured / figure over the trials of
the same engine that were not left out: more than a page without a calibration would know. The two
terms are those of the literature, a fixed time and bytes over bandwidth, for all engines together,
and once more for each engine apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from results.evaluation.cases import Case, is_measured
from results.learning.fit import cell
from results.learning.quantiles import weighted_quantile
from results.learning.robust import robust_factors
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from results.evaluation.folds import Fold
    from results.observation import Observation

    Figure = Callable[[Observation, Quantity], float | None]

SIZE: Final = "size only"
CONCURRENCY: Final = "hardwareConcurrency"
BANDWIDTH: Final = "bandwidth only"
TWO_TERMS: Final = "two terms, all engines"
TWO_TERMS_EACH: Final = "two terms, by engine"

_WHOLE_FILE: Final = frozenset({Quantity.LOAD, Quantity.MEMORY})


def work(observation: Observation, quantity: Quantity) -> float | None:
    """Bytes that are moved: the file's, or those of the weights for each token."""
    if quantity in _WHOLE_FILE:
        return observation.file_bytes or None
    tokens = 1 if quantity is Quantity.DECODE else observation.prompt_tokens
    return tokens * observation.decode_bytes or None


def _by_concurrency(observation: Observation, quantity: Quantity) -> float | None:
    bytes_, threads = work(observation, quantity), observation.facts.hardware_concurrency
    return bytes_ / threads if bytes_ and threads else None


def _by_bandwidth(observation: Observation, quantity: Quantity) -> float | None:
    bytes_, rate = work(observation, quantity), observation.facts.stream_bytes_per_s
    return bytes_ / rate if bytes_ and rate else None


# Memory does not depend on how fast a device is.
RULES: Final[Mapping[str, tuple[Figure, frozenset[Quantity]]]] = {
    SIZE: (work, frozenset(Quantity)),
    CONCURRENCY: (_by_concurrency, frozenset(Quantity) - {Quantity.MEMORY}),
    BANDWIDTH: (_by_bandwidth, frozenset(Quantity) - {Quantity.MEMORY}),
}
_TWO_TERMS: Final = (Quantity.DECODE, Quantity.PREFILL)


def baseline_cases(fold: Fold) -> Iterator[Case]:
    """What the simpler rules say of what the fold left out."""
    training = _of_recipes(fold.training)
    tested = _of_recipes(fold.tested)
    for rule, (figure, quantities) in RULES.items():
        for quantity in quantities:
            for recipe, observations in tested.items():
                scale = _scale(training.get(recipe, []), quantity, figure)
                for observation in observations if scale is not None else ():
                    base = figure(observation, quantity)
                    if base and scale and is_measured(observation, quantity):
                        yield Case(rule, fold.split, observation, quantity, base * scale)
    for quantity in _TWO_TERMS:
        yield from _two_terms(TWO_TERMS, fold, fold.training, fold.tested, quantity)
        for recipe, observations in tested.items():
            mine = training.get(recipe, [])
            yield from _two_terms(TWO_TERMS_EACH, fold, mine, observations, quantity)


def _of_recipes(observations: Sequence[Observation]) -> dict[str, list[Observation]]:
    found: dict[str, list[Observation]] = {}
    for observation in observations:
        found.setdefault(observation.recipe, []).append(observation)
    return found


def _scale(observations: Sequence[Observation], quantity: Quantity, figure: Figure) -> float | None:
    cells: dict[object, list[float]] = {}
    for observation in observations:
        base = figure(observation, quantity)
        if base and is_measured(observation, quantity):
            ratio = observation.measured[quantity] / base
            cells.setdefault(cell(observation), []).append(ratio)
    if not cells:
        return None
    values = np.array([ratio for ratios in cells.values() for ratio in ratios])
    weights = np.array([1 / len(ratios) for ratios in cells.values() for _ in ratios])
    return weighted_quantile(values, weights, 0.5)


def _two_terms(
    rule: str,
    fold: Fold,
    training: Sequence[Observation],
    tested: Sequence[Observation],
    quantity: Quantity,
) -> Iterator[Case]:
    rows = [(o, row) for o in training if (row := _two(o, quantity))]
    if not rows:
        return
    count: dict[object, int] = {}
    for observation, _ in rows:
        count[cell(observation)] = count.get(cell(observation), 0) + 1
    ratios = np.array([row for _, row in rows])
    ratios /= np.array([[o.measured[quantity]] for o, _ in rows])
    weights = np.array([1 / count[cell(o)] for o, _ in rows])
    factors = robust_factors(ratios, weights[None, :])[0]
    for observation in tested:
        row = _two(observation, quantity)
        expected = float(np.dot(row, factors)) if row else 0.0
        if expected > 0:
            yield Case(rule, fold.split, observation, quantity, expected)


def _two(observation: Observation, quantity: Quantity) -> tuple[float, float] | None:
    """One second a token, and the bytes of all tokens over the bandwidth."""
    moved = _by_bandwidth(observation, quantity)
    if moved is None or not is_measured(observation, quantity):
        return None
    tokens = 1 if quantity is Quantity.DECODE else observation.prompt_tokens
    return float(tokens), moved
