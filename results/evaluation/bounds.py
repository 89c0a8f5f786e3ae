"""What must hold, and what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from results.evaluation.cases import PROBE
from results.evaluation.figures import EVERYTHING
from results.evaluation.folds import Split
from results.learning.fit import SPEEDS
from results.learning.quantiles import COVERAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.evaluation.figures import Evaluation


class Bound(NamedTuple):
    """One bound: what it is about, what was found, and what must hold; `holds` None is unknown."""

    name: str
    found: str
    must: str
    holds: bool | None


# Median and 90th percentile of the error of prefill and decode, the device left out.
_OF_RUNTIME: Final = {"wllama/wasm": (0.07, 0.20)}
_OF_OTHERS: Final = (0.12, 0.30)
_TIERS_AGREE: Final = 0.95
_OVER_PROMISE: Final = 0.02
_OOM_PRECISION: Final = 0.95
_COVERAGE: Final = (0.85, 0.95)
# Below 9.95 %, which is 10 % already.
_ONE_DIGIT: Final = 0.0995


def bounds(evaluation: Evaluation) -> list[Bound]:
    """Every bound, in the order they are to be read in."""
    return [*_errors(evaluation), *_tiers(evaluation), *_oom(evaluation), *_coverage(evaluation)]


def broken(evaluation: Evaluation) -> list[Bound]:
    """The bounds that do not hold, or of which nothing is known."""
    return [bound for bound in bounds(evaluation) if not bound.holds]


def _errors(evaluation: Evaluation) -> Iterator[Bound]:
    runtimes = {errors.group for errors in evaluation.errors if "/" in errors.group}
    for errors in evaluation.errors:
        if (
            errors.rule == PROBE
            and errors.split is Split.DEVICE
            and errors.quantity in SPEEDS
            and errors.group in runtimes
        ):
            median, p90 = _OF_RUNTIME.get(errors.group, _OF_OTHERS)
            yield Bound(
                f"{errors.quantity}, {errors.group}",
                f"{percent(errors.median)} and {percent(errors.p90)} (n = {errors.n})",
                f"median <= {whole(median)}, p90 <= {whole(p90)}",
                errors.median <= median and errors.p90 <= p90,
            )


def _tiers(evaluation: Evaluation) -> Iterator[Bound]:
    for found in evaluation.tiers:
        if found.split is Split.DEVICE:
            yield Bound(
                "tiers of loads that ran",
                f"{percent(found.tiers_agree)} of {found.ran} agree",
                f">= {whole(_TIERS_AGREE)}",
                None if found.tiers_agree is None else found.tiers_agree >= _TIERS_AGREE,
            )
            yield Bound(
                "over-promise",
                f"{percent(found.over_promise)} of {found.judged}",
                f"<= {whole(_OVER_PROMISE)}",
                None if found.over_promise is None else found.over_promise <= _OVER_PROMISE,
            )


def _oom(evaluation: Evaluation) -> Iterator[Bound]:
    for found in evaluation.feasibility:
        if found.rule == PROBE and found.split is Split.DEVICE:
            yield Bound(
                "OOM recall",
                f"{percent(found.oom_recall)} of {found.oom}",
                "100 %",
                None if found.oom_recall is None else found.oom_recall == 1,
            )
            yield Bound(
                "OOM precision",
                percent(found.oom_precision),
                f">= {whole(_OOM_PRECISION)}",
                None if found.oom_precision is None else found.oom_precision >= _OOM_PRECISION,
            )


def _coverage(evaluation: Evaluation) -> Iterator[Bound]:
    low, high = _COVERAGE
    for errors in evaluation.errors:
        if (
            errors.rule == PROBE
            and errors.split is Split.DEVICE
            and errors.group == EVERYTHING
            and errors.coverage is not None
        ):
            yield Bound(
                f"coverage of {whole(COVERAGE)} intervals, {words(errors.quantity)}",
                percent(errors.coverage),
                f"{whole(low)} to {whole(high)}",
                low <= round(errors.coverage, 3) <= high,
            )


def percent(share: float | None) -> str:
    """A share as people read it: 0.123 is 12 %, and below 10 % it has one digit more."""
    if share is None:
        return "-"
    digits = 1 if 0 < abs(share) < _ONE_DIGIT else 0
    return f"{100 * share:.{digits}f} %"


def whole(share: float) -> str:
    """A share of whole percents, as bounds are."""
    return f"{100 * share:.0f} %"


def words(name: str) -> str:
    """A name as it is read: `first_token` as `first token`."""
    return name.replace("_", " ")
