"""What it takes to know how fast a device decodes, beside how far off one is then."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from results.evaluation import speed_baselines
from results.evaluation.cases import PROBE
from results.evaluation.figures import Cost
from results.evaluation.folds import Split
from results.learning.fit import cell
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.evaluation.cases import Case
    from results.observation import Observation

FULL_LOAD: Final = "full load"
# To ask the browser takes no longer.
_ASKED_SECONDS: Final = 1e-3
_FREE: Final = frozenset({speed_baselines.SIZE, speed_baselines.CONCURRENCY})


def costs(cases: Sequence[Case], observations: Sequence[Observation]) -> list[Cost]:
    """One entry a rule, the full load last: its error is how far its repeats differ.

    A rule of one kernel costs its share of the probe.
    """
    by_rule: dict[str, list[Case]] = {}
    for case in cases:
        if case.split is Split.DEVICE and case.quantity is Quantity.DECODE:
            by_rule.setdefault(case.rule, []).append(case)
    found = [
        Cost(
            rule=rule,
            seconds=median(_seconds(rule, case.observation) for case in mine),
            median=median(abs(case.error) for case in mine),
        )
        for rule, mine in sorted(by_rule.items())
    ]
    full = _full_load(observations)
    return [*found, full] if full else found


def _seconds(rule: str, observation: Observation) -> float:
    if rule in _FREE:
        return _ASKED_SECONDS
    if rule == PROBE:
        return observation.probe_seconds
    return max(observation.probe_seconds / max(1, len(observation.vector)), _ASKED_SECONDS)


def _full_load(observations: Sequence[Observation]) -> Cost | None:
    cells: dict[object, list[Observation]] = {}
    for observation in observations:
        if observation.measured.get(Quantity.DECODE):
            cells.setdefault((observation.recipe, cell(observation)), []).append(observation)
    spreads, seconds = [], []
    for same in cells.values():
        values = [o.measured[Quantity.DECODE] for o in same]
        middle = median(values)
        if len(same) > 1:
            spreads += [abs(middle / value - 1) for value in values]
        seconds += [
            o.measured[Quantity.LOAD] + o.measured.get(Quantity.FIRST_TOKEN, 0.0)
            for o in same
            if o.measured.get(Quantity.LOAD)
        ]
    if not spreads or not seconds:
        return None
    return Cost(rule=FULL_LOAD, seconds=median(seconds), median=median(spreads))
