"""Factors that make the relative errors of predicted times small, and which terms to keep.

A row is one trial: each term's base divided by what was measured, so that a perfect fit gives 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from results.learning.nnls import nnls
from results.learning.quantiles import weighted_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Integers = NDArray[np.intp]

_ITERATIONS: Final = 12
_SETTLED: Final = 1e-4
# Relative errors below it count as if they were so large: that small, they are noise.
_FLOOR: Final = 0.03
# What a further term must take off the error on devices that were left out, to earn its place.
_WORTH: Final = 0.05
# Fewer cells than this for each term, and a fit learns the cells by heart.
_CELLS_A_TERM: Final = 3
# So few cells tell nothing of what a term is worth: what is believed of the engine, or the term of
# its largest part, comes first.
_FEW_CELLS: Final = 8
_LARGEST_PARTS: Final = frozenset({"matrix", "body", "product", "bytes", "prefill", "file"})
BELIEF: Final = "*"
"""The column of what is believed of the engine before any fit, all terms in one."""

# A prediction that far off is wrong altogether; how far does not matter.
_WORST: Final = math.log(4)


@dataclass(frozen=True, slots=True)
class Rows:
    """The trials of a fit.

    Attributes:
        ratios: base / measured, (trials, terms).
        terms: names of the columns.
        weights: of the trials: those of one cell count once, together.
        devices: number of the device class of each trial.
        folds: number of the part that is left out together when terms are chosen.
    """

    ratios: Floats
    terms: tuple[str, ...]
    weights: Floats
    devices: Integers
    folds: Integers

    @property
    def cells(self) -> float:
        """How many cells stand behind it."""
        return float(self.weights.sum())

    def only(self, columns: Sequence[int]) -> Rows:
        """The same trials with some of the terms."""
        return Rows(
            ratios=self.ratios[:, list(columns)],
            terms=tuple(self.terms[column] for column in columns),
            weights=self.weights,
            devices=self.devices,
            folds=self.folds,
        )


def robust_factors(ratios: Floats, weights: Floats) -> Floats:
    """The factors of least absolute relative error, each 0 or above, for several weightings.

    Squares are weighted by one over the error of the step before (iteratively reweighted least
    squares), which tends to the least absolute error: a trial that went wrong counts little. At
    the end all factors are scaled so that half of the trials are predicted too high.

    Args:
        ratios: base / measured, (trials, terms).
        weights: (problems, trials); 0 leaves a trial out.

    Returns:
        (problems, terms).
    """
    trials, terms = ratios.shape
    products = (ratios[:, :, None] * ratios[:, None, :]).reshape(trials, terms * terms)
    current = weights
    factors = np.zeros((len(weights), terms))
    for _ in range(_ITERATIONS):
        grams = (current @ products).reshape(len(weights), terms, terms)
        before, factors = factors, nnls(grams, current @ ratios)
        if (np.abs(before - factors) <= _SETTLED * np.abs(factors)).all():
            break
        current = weights / np.maximum(np.abs(factors @ ratios.T - 1), _FLOOR)
    predicted = factors @ ratios.T
    for problem, line in enumerate(predicted):
        counts = (weights[problem] > 0) & (line > 0)
        if counts.any():
            factors[problem] *= weighted_quantile(1 / line[counts], weights[problem][counts], 0.5)
    return factors


def without_each(parts: Integers, weights: Floats) -> Floats:
    """The weights with each part left out in turn, (parts, trials); parts count from 0."""
    return np.where(parts[None, :] == np.arange(parts.max() + 1)[:, None], 0.0, weights[None, :])


def left_out(rows: Rows, parts: Integers) -> Floats:
    """Predicted / measured of each trial, by the factors of a fit without its part."""
    factors = robust_factors(rows.ratios, without_each(parts, rows.weights))
    predicted: Floats = np.einsum("nk,nk->n", rows.ratios, factors[parts])
    return predicted


def choose_terms(rows: Rows) -> list[int]:
    """The columns that predict best what was left out: forward selection.

    Terms of one name and several quantisations (`matrix.int4`, `matrix.int8`) enter together.
    A further one must lower the mean absolute logarithm of predicted / measured on the parts left
    out by 5 %, and at most every third cell pays for a term. Without two parts it is the one term
    that fits best.
    """
    groups = _groups(rows)
    if not groups:
        return []
    score = _Scores(rows)
    chosen: list[int] = []
    best = math.inf
    first = _first(groups, rows.cells)
    while groups and (not chosen or (len(chosen) + 1) * _CELLS_A_TERM <= rows.cells):
        rated = [
            (score.of([*chosen, *group]), name)
            for name, group in groups.items()
            if chosen or name in first
        ]
        error, name = min(rated)
        if chosen and error > best * (1 - _WORTH):
            break
        chosen += groups.pop(name)
        best = error
        if not score.folded:
            break
    everything = list(range(len(rows.terms)))
    if (
        score.folded
        and len(everything) * _CELLS_A_TERM <= rows.cells
        and score.of(everything) < best * (1 - _WORTH)
    ):
        return everything
    return sorted(chosen)


def _first(groups: dict[str, list[int]], cells: float) -> set[str]:
    """The terms that may come first."""
    if cells >= _FEW_CELLS:
        return set(groups)
    if BELIEF in groups:
        return {BELIEF}
    return set(_LARGEST_PARTS & groups.keys()) or set(groups)


def _groups(rows: Rows) -> dict[str, list[int]]:
    """Columns by the name of their term, in the order of names; those of nothing but 0 are out."""
    found: dict[str, list[int]] = {}
    for column, term in sorted(enumerate(rows.terms), key=lambda item: item[1]):
        if rows.ratios[:, column].any():
            found.setdefault(term.split(".")[0], []).append(column)
    return found


class _Scores:
    """The error of choices of terms on what was left out, by weights that are robust already."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.folded = int(rows.folds.max()) > 0
        every = robust_factors(rows.ratios, rows.weights[None, :])[0]
        robust = rows.weights / np.maximum(np.abs(rows.ratios @ every - 1), _FLOOR)
        weights = without_each(rows.folds, robust) if self.folded else robust[None, :]
        trials, terms = rows.ratios.shape
        products = (rows.ratios[:, :, None] * rows.ratios[:, None, :]).reshape(trials, -1)
        self._grams = (weights @ products).reshape(-1, terms, terms)
        self._moments = weights @ rows.ratios

    def of(self, columns: list[int]) -> float:
        """The mean absolute logarithm of predicted / measured; far off counts as 4 times."""
        rows = self._rows
        factors = nnls(self._grams[:, columns][:, :, columns], self._moments[:, columns])
        mine = factors[rows.folds] if self.folded else factors
        predicted = (rows.ratios[:, columns] * mine).sum(axis=1)
        logs = np.abs(np.log(np.maximum(predicted, 1e-9)))
        return float((rows.weights * np.minimum(logs, _WORST)).sum() / rows.cells)
