"""How well the probe foretold: which tiers it took for which, and how often intervals held.

Each cell of the matrix counts once, however many trials it rests on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from results.accuracy import judge_prediction
from results.matrix.summary import outcome_words
from results.record import Judgement, Prediction, Tiers, Verdict
from results.site.view import METRICS, holds
from results.tiers import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from results.site.view import Metric, Row
    from results.tiers import Tier

Outcome = tuple[str, "Tier | None"]
"""A verdict, and a tier where it is `ok`."""

_TIERS_BEST_FIRST: Final[list[Outcome]] = [("ok", tier) for tier in reversed(TIERS)]
# After the tiers, and only where one occurs.
_REST: Final[list[Outcome]] = [
    ("ok", None),
    *((str(v), None) for v in (Verdict.OOM, Verdict.CRASH, Verdict.HANG, Verdict.UNSUPPORTED)),
    ("unknown", None),
]


@dataclass(frozen=True, slots=True)
class Square:
    """One square of a confusion matrix: how many cells, and what such a prediction is called."""

    count: int
    judgement: Judgement
    measured: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """Predicted outcomes down, measured ones across."""

    measured: list[str]
    rows: list[tuple[str, list[Square]]]
    judgements: dict[Judgement, int]

    @property
    def total(self) -> int:
        """How many cells were counted."""
        return sum(self.judgements.values())


def confusion(rows: Sequence[Row]) -> Confusion:
    """The confusion matrix of some cells."""
    pairs = Counter((_predicted(row), _measured(row)) for row in rows)
    down = _occurring(predicted for predicted, _ in pairs)
    across = _occurring(measured for _, measured in pairs)
    judgements: Counter[Judgement] = Counter()
    for (predicted, measured), count in pairs.items():
        judgements[_judge(predicted, measured)] += count
    return Confusion(
        measured=[outcome_words(*outcome) for outcome in across],
        rows=[
            (
                outcome_words(*predicted),
                [
                    Square(
                        pairs[predicted, measured],
                        _judge(predicted, measured),
                        outcome_words(*measured),
                    )
                    for measured in across
                ],
            )
            for predicted in down
        ],
        judgements=dict(judgements),
    )


def _predicted(row: Row) -> Outcome:
    predicted = row.cell.predicted
    return predicted.verdict, predicted.tier if predicted.verdict == "ok" else None


def _measured(row: Row) -> Outcome:
    return str(row.cell.verdict), row.cell.tier if row.cell.verdict is Verdict.OK else None


def _occurring(outcomes: Iterable[Outcome]) -> list[Outcome]:
    found = set(outcomes)
    return _TIERS_BEST_FIRST + [outcome for outcome in _REST if outcome in found]


def _judge(predicted: Outcome, measured: Outcome) -> Judgement:
    verdict, tier = predicted
    prediction = Prediction.model_validate({"verdict": verdict, "reason": "", "tier": tier})
    tiers = Tiers(prefill=None, decode=None, pair=measured[1])
    return judge_prediction(prediction, Verdict(measured[0]), tiers)[0]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How one metric was foretold: cells with both figures, those inside of the interval.

    `ratio` is the median of measured over expected; `None` without any.
    """

    metric: Metric
    n: int
    inside: int
    ratio: float | None


def coverage(rows: Sequence[Row]) -> list[Coverage]:
    """The coverage of each metric over some cells that ran."""
    return [_coverage(rows, metric) for metric in METRICS]


def _coverage(rows: Sequence[Row], metric: Metric) -> Coverage:
    pairs = [
        (interval, value)
        for row in rows
        if row.cell.verdict is Verdict.OK
        and (interval := row.predicted(metric))
        and (value := row.measured(metric)) is not None
    ]
    ratios = [value / interval.expected for interval, value in pairs if interval.expected > 0]
    return Coverage(
        metric=metric,
        n=len(pairs),
        inside=sum(holds(interval, value) for interval, value in pairs),
        ratio=median(ratios) if ratios else None,
    )
