"""What each term is worth: the errors with it taken away, devices left out.

The terms are those that the fit of all trials has chosen. What remains is fitted anew, without a
new choice, so that no other term takes the place of what is missing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from results.evaluation.figures import Ablation, spread
from results.learning.fit import SPEEDS, foretold, rows_of
from results.learning.robust import choose_terms, left_out
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from results.learning.robust import Rows
    from results.observation import Observation

DUTY: Final = "duty factor"
# Terms that do not come from kernels whose rates are told by bursts.
_WITHOUT_BURSTS: Final = frozenset({"barrier", "fixed", "bytes", "file", "largest", "kv"})
_QUANTITIES: Final = (Quantity.DECODE, Quantity.PREFILL)


def ablations(observations: Sequence[Observation]) -> list[Ablation]:
    """For each engine, decode and prefill: with all terms, without each, and without duty."""
    recipes: dict[str, list[Observation]] = {}
    for observation in observations:
        recipes.setdefault(observation.recipe, []).append(observation)
    return [
        ablation
        for recipe in sorted(recipes)
        for quantity in _QUANTITIES
        for ablation in _ablations(recipes[recipe], quantity)
    ]


def _ablations(observations: list[Observation], quantity: Quantity) -> Iterable[Ablation]:
    rows = rows_of(observations, quantity, {})
    if rows is None or rows.devices.max() < 1:
        return
    chosen = choose_terms(rows)
    rows = rows.only(chosen)
    runtime = observations[0].recipe
    yield _ablation("", runtime, quantity, rows)
    groups = sorted({term.split(".")[0] for term in rows.terms})
    for group in groups if len(groups) > 1 else ():
        kept = [place for place, term in enumerate(rows.terms) if term.split(".")[0] != group]
        yield _ablation(group, runtime, quantity, rows.only(kept))
    bursts = rows_of([_as_burst(o, quantity) for o in observations], quantity, {})
    if bursts is not None and any(o.facts.duty not in {None, 1.0} for o in observations):
        yield _ablation(DUTY, runtime, quantity, bursts.only(chosen))


def _ablation(term: str, runtime: str, quantity: Quantity, rows: Rows) -> Ablation:
    seen = foretold(replace(rows, folds=rows.devices))
    predicted = np.maximum(left_out(rows, rows.devices), 1e-3)[seen]
    signed = 1 / predicted - 1 if quantity in SPEEDS else predicted - 1
    median, p90 = spread(signed)
    return Ablation(
        term=term, runtime=runtime, quantity=quantity, n=len(signed), median=median, p90=p90
    )


def _as_burst(observation: Observation, quantity: Quantity) -> Observation:
    """The observation as a probe sees it that does not know its duty factor."""
    duty = observation.facts.duty or 1.0
    bases = {
        term: base if term.split(".")[0] in _WITHOUT_BURSTS else base * duty
        for term, base in observation.terms.get(quantity, {}).items()
    }
    return replace(observation, terms={**observation.terms, quantity: bases})
