"""The evaluation: every split, our rule beside the simpler ones, on the same folds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Final

from results.evaluation.ablation import ablations
from results.evaluation.cases import PROBE, Case, measured_quantities, probe_cases
from results.evaluation.costs import costs
from results.evaluation.counting import confusion, feasibility
from results.evaluation.figures import EVERYTHING, Errors, Evaluation, errors_of
from results.evaluation.folds import Fold, Split, folds
from results.evaluation.load_baselines import RULES as LOAD_RULES
from results.evaluation.load_baselines import baseline_outcomes
from results.evaluation.outcomes import Outcome, outcomes
from results.evaluation.speed_baselines import baseline_cases
from results.learning.fit import training
from results.observation import Observation, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from results.evaluation.figures import History
    from results.learning.fit import Beliefs


class By(StrEnum):
    """What the probe's own errors are told apart by, beside all together and by runtime."""

    RUNTIME = "runtime"
    DEVICE = "device"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Everything that was foretold of what was left out."""

    observations: list[Observation]
    folds: list[Fold]
    cases: list[Case]
    outcomes: list[Outcome]


def foretell_all(observations: Sequence[Observation], beliefs: Beliefs | None = None) -> Forecasts:
    """Leave out each part in turn, and foretell it from the rest."""
    ordered = sorted(observations, key=lambda o: o.trial_id)
    every = [fold for split in Split for fold in folds(ordered, split, beliefs)]
    return Forecasts(
        observations=ordered,
        folds=every,
        cases=[c for fold in every for c in (*probe_cases(fold), *baseline_cases(fold))],
        outcomes=[o for fold in every for o in (*outcomes(fold, PROBE), *baseline_outcomes(fold))],
    )


def evaluate(tested: Forecasts, by: By = By.RUNTIME, history: Iterable[History] = ()) -> Evaluation:
    """The figures of what was tested."""
    observations = tested.observations
    trusted = [o for o in observations if o.trusted]
    return Evaluation(
        training=training(trusted),
        untrusted=len(observations) - len(trusted),
        hosts=len({o.host for o in observations}),
        errors=tuple(_errors(tested, by)),
        tiers=tuple(
            confusion(found) for split in Split if (found := _of(tested.outcomes, PROBE, split))
        ),
        feasibility=tuple(
            feasibility(found)
            for split in Split
            for rule in (PROBE, *LOAD_RULES)
            if (found := _of(tested.outcomes, rule, split))
        ),
        ablations=tuple(ablations(trusted)),
        costs=tuple(costs(tested.cases, trusted)),
        probe_seconds=_median([o.probe_seconds for o in trusted]),
        load_seconds=_median([seconds for o in trusted if (seconds := load_seconds(o))]),
        load_bytes=_median([float(o.load_bytes) for o in trusted if o.load_bytes]),
        history=tuple(history),
    )


def group_of(observation: Observation, by: By) -> str:
    """The group of the errors that an observation belongs to."""
    match by:
        case By.RUNTIME:
            return observation.runtime
        case By.DEVICE:
            return observation.device
        case By.MODEL:
            return observation.model


_SPLITS: Final = tuple(Split)
_QUANTITIES: Final = (
    Quantity.DECODE,
    Quantity.PREFILL,
    Quantity.FIRST_TOKEN,
    Quantity.LOAD,
    Quantity.MEMORY,
)


def _errors(tested: Forecasts, by: By) -> Iterable[Errors]:
    measured = Counter(
        (quantity, group)
        for o in tested.observations
        for quantity in measured_quantities(o)
        for group in (EVERYTHING, *_groups(o, by))
    )
    grouped: dict[tuple[str, Split, Quantity, str], list[Case]] = {}
    for case in tested.cases:
        for group in (EVERYTHING, *_groups(case.observation, by)):
            grouped.setdefault((case.rule, case.split, case.quantity, group), []).append(case)

    def place(key: tuple[str, Split, Quantity, str]) -> tuple[int, bool, str, int, bool, str]:
        rule, split, quantity, group = key
        ours, whole = rule == PROBE, group == EVERYTHING
        return (_SPLITS.index(split), not ours, rule, _QUANTITIES.index(quantity), not whole, group)

    for key in sorted(grouped, key=place):
        yield errors_of(grouped[key], key[3], measured[key[2], key[3]])


def _groups(observation: Observation, by: By) -> set[str]:
    return {group_of(observation, By.RUNTIME), group_of(observation, by)}


def _of(found: Sequence[Outcome], rule: str, split: Split) -> list[Outcome]:
    return [one for one in found if one.rule == rule and one.split is split]


def load_seconds(observation: Observation) -> float:
    """What it took a full load to know: to load, and to its first token."""
    return sum(observation.measured.get(q, 0.0) for q in (Quantity.LOAD, Quantity.FIRST_TOKEN))


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None
