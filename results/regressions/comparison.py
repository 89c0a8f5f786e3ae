"""One figure of two groups of trials, compared: regressed, improved, the same, or not known.

A difference counts when all of its interval lies beyond the tolerance, and two groups are the same
when all of it lies within. An interval that reaches over that edge says that there are too few
trials for this much noise; so does the lack of an interval.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Final

from results.figures import METRICS
from results.record import Part, Verdict
from results.regressions.statistics import (
    ERROR,
    fisher_exact,
    more_needed,
    more_pairs_needed,
    paired_ratio,
    ratio,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.figures import Figures
    from results.regressions.statistics import Ratio

VERDICT: Final = "verdict"
COMPARED: Final = (VERDICT, *METRICS)
"""What is compared of a trial: how it ended, and what it measured."""

LOWER_IS_BETTER: Final = frozenset({"load_seconds", "first_token_seconds", "peak_bytes"})
TOLERANCE: Final = 0.05
"""How large a difference is of no interest: 5 %, in either direction."""

MOST: Final = 50
"""So many trials of a group are compared at most; more would make the interval little narrower."""


_STRADDLES: Final = "the interval straddles the tolerance"


class Change(StrEnum):
    """What became of a figure."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    SAME = "same"
    UNDECIDED = "not enough data"


class Comparison(Part):
    """A figure of `n` trials against that of `baseline_n` others.

    Of a metric, `ratio` is the sample's to the baseline's, from `low` to `high` with `confidence`
    (none of the three where there are too few trials). Of verdicts, `chance` is how often two
    groups that do not differ would look as different as these.
    """

    figure: str
    change: Change
    explanation: str
    baseline_n: int
    n: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    chance: float | None = None


def value_of(trial: Figures, metric: str) -> float | None:
    """A metric of a trial that came to a good end; `None` where it was not measured."""
    value: float | None = getattr(trial, metric)
    return value if value and value > 0 and trial.verdict == Verdict.OK else None


def compare(
    figure: str,
    baseline: Sequence[Figures],
    sample: Sequence[Figures],
    tolerance: float = TOLERANCE,
) -> Comparison:
    """Compare one figure of two groups of trials, the newest first.

    Args:
        figure: `verdict`, or a metric of `results.figures.METRICS`.
        baseline: the trials of the one; those that say nothing of the device are left out already.
        sample: the trials of the other.
        tolerance: how large a difference is of no interest, as a share: 0.05.
    """
    if figure == VERDICT:
        return _compare_verdicts(baseline[:MOST], sample[:MOST])
    before, after = _values(figure, baseline), _values(figure, sample)
    if not (before and after):
        return _undecided(figure, len(before), len(after), "no load gave this figure")
    lacking = more_needed(len(before), len(after))
    return _judge(
        figure,
        ratio(before, after),
        sizes=(len(before), len(after)),
        tolerance=tolerance,
        lacking=f"{lacking} more {_loads(lacking)} of each needed",
    )


def compare_rounds(
    figure: str, rounds: Sequence[tuple[Figures, Figures]], tolerance: float = TOLERANCE
) -> Comparison:
    """Compare one figure of trials that were made in pairs, one of each side a round.

    A round in which either side has no figure is left out.
    """
    if figure == VERDICT:
        return _compare_verdicts([a for a, _ in rounds], [b for _, b in rounds])
    pairs = [
        (before, after)
        for a, b in rounds
        if (before := value_of(a, figure)) and (after := value_of(b, figure))
    ]
    if not pairs:
        return _undecided(figure, 0, 0, "no round gave this figure of both")
    lacking = more_pairs_needed(len(pairs))
    return _judge(
        figure,
        paired_ratio(pairs),
        sizes=(len(pairs), len(pairs)),
        tolerance=tolerance,
        lacking=f"{lacking} more {'round' if lacking == 1 else 'rounds'} needed",
    )


def _values(metric: str, trials: Sequence[Figures]) -> list[float]:
    found = (value_of(trial, metric) for trial in trials)
    return [value for value in found if value is not None][:MOST]


def _judge(
    figure: str, found: Ratio, *, sizes: tuple[int, int], tolerance: float, lacking: str
) -> Comparison:
    change, explanation = Change.UNDECIDED, lacking
    bounds = found.bounds
    if bounds is not None:
        change = _change(figure, bounds.low, bounds.high, tolerance)
        explanation = _STRADDLES if change is Change.UNDECIDED else ""
    return Comparison(
        figure=figure,
        change=change,
        explanation=explanation,
        baseline_n=sizes[0],
        n=sizes[1],
        ratio=found.value,
        low=bounds.low if bounds else None,
        high=bounds.high if bounds else None,
        confidence=bounds.confidence if bounds else None,
    )


def _change(metric: str, low: float, high: float, tolerance: float) -> Change:
    """Where an interval of ratios lies. The tolerance is as wide both ways: by 1.05, or by 1/1.05.

    So the verdict turns into its opposite when the two sides are exchanged.
    """
    most, least = 1 + tolerance, 1 / (1 + tolerance)
    if least <= low and high <= most:
        return Change.SAME
    if low <= most and high >= least:
        return Change.UNDECIDED
    larger = low > most
    return Change.REGRESSED if larger == (metric in LOWER_IS_BETTER) else Change.IMPROVED


def _compare_verdicts(baseline: Sequence[Figures], sample: Sequence[Figures]) -> Comparison:
    if not (baseline and sample):
        return _undecided(VERDICT, len(baseline), len(sample), "there are no trials")
    good, other_good = (
        sum(t.verdict == Verdict.OK for t in trials) for trials in (baseline, sample)
    )
    n, other_n = len(baseline), len(sample)
    chance = fisher_exact(good, n - good, other_good, other_n - other_good)
    lacking = _more_verdicts_needed(n, other_n)
    said = f"{_tally(baseline)}, then {_tally(sample)}"
    if chance <= ERROR:
        change = Change.REGRESSED if other_good / other_n < good / n else Change.IMPROVED
    elif lacking:
        change = Change.UNDECIDED
        said += f"; {lacking} more {_loads(lacking)} of each needed"
    elif (good, other_good) in {(0, 0), (n, other_n)}:
        change = Change.SAME
    else:
        change = Change.UNDECIDED
        said += f"; as much comes by chance with p = {chance:.2g}"
    return Comparison(
        figure=VERDICT, change=change, explanation=said, baseline_n=n, n=other_n, chance=chance
    )


@cache
def _more_verdicts_needed(n: int, other_n: int) -> int:
    """How many trials of each are lacking before even a complete change would stand out."""
    return next(k for k in count() if fisher_exact(n + k, 0, 0, other_n + k) <= ERROR)


def _tally(trials: Sequence[Figures]) -> str:
    return " and ".join(
        f"{n} {verdict}" for verdict, n in Counter(t.verdict for t in trials).most_common()
    )


def _undecided(figure: str, baseline_n: int, n: int, why: str) -> Comparison:
    return Comparison(
        figure=figure, change=Change.UNDECIDED, explanation=why, baseline_n=baseline_n, n=n
    )


def _loads(number: int) -> str:
    return "load" if number == 1 else "loads"
