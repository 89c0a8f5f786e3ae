"""Fit the calibration: factors and bands of each engine recipe and quantity."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from results.calibration import Calibration, Fit, Training
from results.learning.margin import margin
from results.learning.predict import bases_of, expected_value, weighted_sum
from results.learning.quantiles import band, weighted_quantile
from results.learning.robust import BELIEF, Rows, choose_terms, left_out, robust_factors
from results.observation import Quantity
from results.record import Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Sequence

    from numpy.typing import NDArray

    from results.observation import Observation

FIRST_PROBE_VERSION: Final = 2
"""Of the probe whose kernels the terms of today's recipes are made of."""

LEAST_TRIALS: Final = 3
LEAST_CELLS: Final = 2
"""Fewer of them, and there is no fit: nothing would tell how wrong it is."""

# So many device classes, and what is left out in turn are whole classes; with fewer, models.
_FEW_DEVICES: Final = 3
_FEW_MODELS: Final = 3
# So many loads that ran and that died, and an engine has a margin of its own.
_OWN_MARGIN: Final = 3
# Where trials leave room: what is measured is the peak of all that the limit is for.
_BELIEVED: Final = 1.0
# What died with a limit so far above its expected peak died of something else.
_OTHER_REASON: Final = 2.5
_SMALLEST_RATIO: Final = 1e-3
SPEEDS: Final = frozenset({Quantity.PREFILL, Quantity.DECODE})
"""What is told as tokens a second: their errors are those of the speed."""

# The first token's prefill is a prediction of its own, and has to be there before.
_ORDER: Final = (
    Quantity.PREFILL,
    Quantity.DECODE,
    Quantity.LOAD,
    Quantity.FIRST_TOKEN,
    Quantity.MEMORY,
)

Fits = dict[Quantity, Fit]
Beliefs = Mapping[str, Mapping[Quantity, Mapping[str, float]]]
"""The factors of before any fit, by recipe and quantity."""


def fit(
    observations: Sequence[Observation],
    candidates: Mapping[Quantity, Collection[str]] | None = None,
    *,
    beliefs: Beliefs | None = None,
    probe_version: int = FIRST_PROBE_VERSION,
) -> Calibration:
    """The calibration that follows from some trials. The same trials in any order give the same.

    Args:
        observations: of which those that are not trusted are left out.
        candidates: the terms that may enter, by their name before the dot; None: all there are.
        beliefs: factors of before any fit; where trials are few, they are scaled as one.
        probe_version: of the reports that they rest on.
    """
    trusted = sorted((o for o in observations if o.trusted), key=lambda o: o.trial_id)
    fitted = fit_recipes(trusted, candidates, beliefs=beliefs)
    return Calibration(
        probe_version=probe_version,
        training=training(trusted),
        engines={recipe: fits for recipe, fits in fitted.items() if fits},
    )


def training(observations: Iterable[Observation]) -> Training:
    """Which trials these are."""
    trials = list(observations)
    ids = "\n".join(sorted(o.trial_id for o in trials))
    return Training(
        trials=len(trials),
        sha256=hashlib.sha256(ids.encode()).hexdigest(),
        devices=tuple(sorted({o.device for o in trials})),
        models=tuple(sorted({o.model for o in trials})),
        processors=tuple(sorted({o.processor for o in trials if o.processor})),
        newest=max((o.day for o in trials), default=""),
    )


def fit_recipes(
    observations: Sequence[Observation],
    candidates: Mapping[Quantity, Collection[str]] | None = None,
    recipes: Collection[str] | None = None,
    beliefs: Beliefs | None = None,
) -> dict[str, Fits]:
    """The fits of each recipe, or of some of them; a recipe with too few trials has none."""
    by_recipe: dict[str, list[Observation]] = {}
    for observation in observations:
        if recipes is None or observation.recipe in recipes:
            by_recipe.setdefault(observation.recipe, []).append(observation)
    known = beliefs or {}
    fitted = {
        recipe: _fits(by_recipe[recipe], candidates or {}, known.get(recipe, {}))
        for recipe in sorted(by_recipe)
    }
    return _with_margins(fitted, by_recipe)


def _fits(
    observations: list[Observation],
    candidates: Mapping[Quantity, Collection[str]],
    beliefs: Mapping[Quantity, Mapping[str, float]],
) -> Fits:
    fits: Fits = {}
    for quantity in _ORDER:
        believed = beliefs.get(quantity, {})
        rows = rows_of(observations, quantity, fits, candidates.get(quantity), believed)
        found = _fit(rows, quantity, believed) if rows is not None else None
        if found is not None:
            fits[quantity] = found
    return fits


def _fit(rows: Rows, quantity: Quantity, believed: Mapping[str, float]) -> Fit | None:
    chosen = choose_terms(rows)
    if not chosen:
        return None
    kept = rows.only(chosen)
    factors = robust_factors(kept.ratios, kept.weights[None, :])[0]
    if not factors.any():
        return None
    tested, weights = _tested(kept)
    if not len(tested):
        return None
    low, high = band(1 / tested, weights)
    errors = np.abs(1 / tested - 1) if quantity in SPEEDS else np.abs(tested - 1)
    by_term = dict(zip(kept.terms, (float(factor) for factor in factors), strict=True))
    return Fit(
        factors=_factors(rows.terms, by_term, believed),
        low=_rounded(low),
        high=_rounded(high),
        n=len(rows.ratios),
        devices=len(np.unique(rows.devices)),
        median_error=_rounded(weighted_quantile(errors, weights, 0.5)),
        p90_error=_rounded(weighted_quantile(errors, weights, 0.9)),
    )


def _factors(
    terms: Sequence[str], fitted: Mapping[str, float], believed: Mapping[str, float]
) -> dict[str, float]:
    """A factor for each term, also for those of what is believed, which is scaled as one."""
    scale = fitted.get(BELIEF, 0.0)
    base = believed if scale else {}
    return {
        term: _rounded(fitted.get(term, 0.0) + scale * base.get(term, 0.0))
        for term in sorted({*terms, *base} - {BELIEF})
    }


def _tested(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Predicted / measured of what was left out, and its weights; in one part, of the fit itself.

    A trial of a quantisation that no other part has is left away: its term had no factor.
    """
    predicted = left_out(rows, rows.folds) if rows.folds.max() > 0 else _in_sample(rows)
    if rows.folds.max() > 0:
        known = foretold(rows)
        predicted, weights = predicted[known], rows.weights[known]
    else:
        weights = rows.weights
    return np.maximum(predicted, _SMALLEST_RATIO), weights


def _in_sample(rows: Rows) -> NDArray[np.float64]:
    factors = robust_factors(rows.ratios, rows.weights[None, :])[0]
    predicted: NDArray[np.float64] = rows.ratios @ factors
    return predicted


def foretold(rows: Rows) -> NDArray[np.bool_]:
    """Of which trials something can be foretold: the other parts have weights stored as theirs."""
    dotted = np.array(["." in term for term in rows.terms])
    weighed = rows.ratios * rows.weights[:, None]
    parts = int(rows.folds.max()) + 1
    inside = np.zeros((parts, len(rows.terms)))
    np.add.at(inside, rows.folds, weighed)
    others = weighed.sum(axis=0)[None, :] - inside
    tiny = 1e-12 * weighed.sum(axis=0)[None, :]
    unseen = (others <= tiny)[rows.folds] & (rows.ratios > 0) & dotted[None, :]
    known: NDArray[np.bool_] = ~unseen.any(axis=1)
    return known


def rows_of(
    observations: Sequence[Observation],
    quantity: Quantity,
    fits: Mapping[Quantity, Fit],
    allowed: Collection[str] | None = None,
    believed: Mapping[str, float] | None = None,
) -> Rows | None:
    """The trials of one recipe that a quantity can be fitted from, None where they are too few.

    A term that less than half of them have is left out, as are the trials without one of the
    others. A term of another quantisation is 0.
    """
    usable = [(o, bases_of(o, quantity, fits)) for o in observations if _measured(o, quantity)]
    terms = _terms(usable, allowed)
    lines: list[list[float]] = []
    kept: list[Observation] = []
    for observation, bases in usable:
        line = [_base(bases, term, observation.quantisation) for term in terms]
        if all(math.isfinite(base) and base >= 0 for base in line):
            kept.append(observation)
            lines.append([base / observation.measured[quantity] for base in line])
    cells = Counter(cell(o) for o in kept)
    if len(kept) < LEAST_TRIALS or len(cells) < LEAST_CELLS or not terms:
        return None
    devices = _numbers([o.device for o in kept])
    ratios = np.array(lines)
    belief = _belief(kept, quantity, fits, believed or {})
    if belief is not None:
        ratios = np.hstack([ratios, belief])
        terms = [*terms, BELIEF]
    return Rows(
        ratios=ratios,
        terms=tuple(terms),
        weights=np.array([1 / cells[cell(o)] for o in kept]),
        devices=devices,
        folds=_folds(kept, devices),
    )


def _belief(
    kept: Sequence[Observation],
    quantity: Quantity,
    fits: Mapping[Quantity, Fit],
    believed: Mapping[str, float],
) -> NDArray[np.float64] | None:
    """What is believed over what was measured, as a column; None where it cannot be told of one."""
    sums = [weighted_sum(bases_of(o, quantity, fits), believed, o.quantisation) for o in kept]
    told = [value for value in sums if value is not None]
    if len(told) < len(sums):
        return None
    return np.array([[v / o.measured[quantity]] for v, o in zip(told, kept, strict=True)])


def cell(observation: Observation) -> tuple[str, str, str, int]:
    """What counts once however often it was measured."""
    return (
        observation.device,
        observation.model,
        observation.quantisation,
        observation.threads,
    )


def _measured(observation: Observation, quantity: Quantity) -> bool:
    value = observation.measured.get(quantity, 0.0)
    return observation.trusted and math.isfinite(value) and value > 0


def _terms(
    usable: Sequence[tuple[Observation, Mapping[str, float]]], allowed: Collection[str] | None
) -> list[str]:
    seen = Counter(
        term
        for _, bases in usable
        for term, base in bases.items()
        if math.isfinite(base) and (allowed is None or term.split(".")[0] in allowed)
    )
    return sorted(t for t, times in seen.items() if "." in t or 2 * times >= len(usable))


def _base(bases: Mapping[str, float], term: str, quantisation: str) -> float:
    _, dot, of = term.partition(".")
    if dot and of != quantisation:
        return 0.0
    return bases.get(term, math.nan)


def _folds(kept: Sequence[Observation], devices: NDArray[np.intp]) -> NDArray[np.intp]:
    if devices.max() + 1 >= _FEW_DEVICES:
        return devices
    models = _numbers([o.model for o in kept])
    return models if models.max() + 1 >= _FEW_MODELS else _numbers([cell(o) for o in kept])


def _numbers(labels: Sequence[Hashable]) -> NDArray[np.intp]:
    number = {label: place for place, label in enumerate(sorted(set(labels), key=str))}
    return np.array([number[label] for label in labels], dtype=np.intp)


def _rounded(value: float) -> float:
    """Six digits: what is beyond them differs between machines, and tells nothing."""
    return float(f"{value:.6g}")


@dataclass(frozen=True, slots=True)
class _Held:
    """Limits over expected peaks of loads that ran, and of those that ran out of memory."""

    ran: list[float]
    died: list[float]


def _with_margins(
    fitted: dict[str, Fits], by_recipe: Mapping[str, Sequence[Observation]]
) -> dict[str, Fits]:
    """The same with the margins of memory: an engine's own, or that of all together."""
    held = {recipe: _held(by_recipe[recipe], fits) for recipe, fits in fitted.items()}
    together = _Held(
        [ratio for one in held.values() for ratio in one.ran],
        [ratio for one in held.values() for ratio in one.died],
    )
    for recipe, fits in fitted.items():
        memory = fits.get(Quantity.MEMORY)
        if memory is not None:
            own = held[recipe]
            used = own if min(len(own.ran), len(own.died)) >= _OWN_MARGIN else together
            value = _rounded(margin(used.ran, used.died, _BELIEVED))
            fits[Quantity.MEMORY] = memory.model_copy(update={"margin": value})
    return fitted


def _held(observations: Sequence[Observation], fits: Mapping[Quantity, Fit]) -> _Held:
    held = _Held([], [])
    for observation in observations:
        limit = observation.memory_limit_bytes
        told = observation.verdict in {Verdict.OK, Verdict.OOM} and observation.trusted
        if limit is None or not told or over_heap(observation):
            continue
        expected = expected_value(observation, Quantity.MEMORY, fits)
        if expected is None:
            continue
        if observation.verdict is Verdict.OK:
            held.ran.append(limit / expected)
        elif limit / expected < _OTHER_REASON:
            held.died.append(limit / expected)
    return held


def over_heap(observation: Observation) -> bool:
    """Whether the engine's address space is too small, whatever the device has."""
    heap = observation.heap_bytes
    return heap is not None and heap[0] > heap[1]
