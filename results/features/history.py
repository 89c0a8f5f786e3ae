"""How much predictions improve with what was measured before."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from results.evaluation.cases import PROBE, Case, measured_quantities
from results.evaluation.figures import EVERYTHING, History, spread
from results.evaluation.folds import Split
from results.features.neighbours import NEIGHBOURS, Known, correction, neighbours, vectors
from results.learning import expected_value
from results.learning.fit import cell
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from results.evaluation.evaluate import Forecasts
    from results.evaluation.folds import Fold
    from results.observation import Observation

_SPLITS: Final = (Split.DEVICE, Split.MODEL)


def history(tested: Forecasts, k: int = NEIGHBOURS) -> list[History]:
    """Errors without and with history, by what was left out, quantity and runtime.

    With a model left out, a prediction is corrected by the other models on the same device; with a
    device left out, by the nearest other devices. The fold's own fits predict both.
    """
    pairs: dict[tuple[Split, Quantity, str], list[tuple[Case, Case]]] = {}
    cases = _by_fold(tested.cases)
    for fold in tested.folds:
        if fold.split in _SPLITS:
            for pair in _corrected(fold, cases.get((fold.split, fold.label), []), k):
                case = pair[0]
                for group in (EVERYTHING, case.observation.runtime):
                    key = (fold.split, case.quantity, group)
                    pairs.setdefault(key, []).append(pair)
    order = list(Quantity)
    return [
        _history(*key, pairs[key])
        for key in sorted(
            pairs,
            key=lambda k: (_SPLITS.index(k[0]), order.index(k[1]), k[2] != EVERYTHING, k[2]),
        )
    ]


def _by_fold(cases: Iterable[Case]) -> dict[tuple[Split, str], list[Case]]:
    found: dict[tuple[Split, str], list[Case]] = {}
    for case in cases:
        if case.rule == PROBE and case.split in _SPLITS:
            o = case.observation
            part = o.device if case.split is Split.DEVICE else o.model
            found.setdefault((case.split, part), []).append(case)
    return found


def _corrected(fold: Fold, cases: Sequence[Case], k: int) -> Iterable[tuple[Case, Case]]:
    """Each case, and the same with its prediction corrected."""
    known = _known(fold)
    database = vectors((o.device, o.vector) for o in fold.training)
    weights: dict[str, dict[str, float]] = {}
    for case in cases:
        o = case.observation
        if o.trial_id not in weights:
            near = neighbours(o.vector, database, k) if fold.split is Split.DEVICE else []
            weights[o.trial_id] = {one.device: one.weight for one in near} or {o.device: 1.0}
        factor = correction(known, weights[o.trial_id], o.recipe, case.quantity)
        yield case, replace(case, expected=case.expected * factor)


def _known(fold: Fold) -> list[Known]:
    """What a history would hold: each cell of the training once."""
    ratios: dict[tuple[object, ...], list[float]] = {}
    of: dict[tuple[object, ...], tuple[Observation, Quantity]] = {}
    for o in fold.training:
        fits = fold.of(o)
        for quantity in measured_quantities(o) if fits else ():
            expected = expected_value(o, quantity, fits)
            if expected is not None:
                key = (o.recipe, quantity, *cell(o))
                ratios.setdefault(key, []).append(o.measured[quantity] / expected)
                of[key] = o, quantity
    return [
        Known(of[key][0].device, of[key][0].recipe, of[key][1], median(values))
        for key, values in ratios.items()
    ]


def _history(
    split: Split, quantity: Quantity, runtime: str, pairs: Sequence[tuple[Case, Case]]
) -> History:
    without = spread(np.array([case.error for case, _ in pairs]))
    with_ = spread(np.array([case.error for _, case in pairs]))
    return History(
        split=split,
        quantity=quantity,
        runtime=runtime,
        n=len(pairs),
        median=without[0],
        p90=without[1],
        median_with=with_[0],
        p90_with=with_[1],
    )
