"""Outcomes as counts: the confusion matrix, recall and precision, and what mistakes cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from results.evaluation.figures import Confusion, Feasibility
from results.evaluation.outcomes import TOO_SLOW
from results.record import Judgement, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from results.evaluation.outcomes import Outcome

_ORDER: Final = (
    *("high", "medium", "low", TOO_SLOW),
    *("ok", "oom", "crash", "hang", "unsupported", "unknown"),
)
_DEATHS: Final = frozenset({Verdict.OOM, Verdict.CRASH, Verdict.HANG})
_MOST_NAMES: Final = 20


def confusion(outcomes: Sequence[Outcome]) -> Confusion:
    """The confusion matrix of one split's outcomes, at least one."""
    pairs = Counter((one.predicted_words, one.measured_words) for one in outcomes)
    names = {name for pair in pairs for name in pair}
    order = [name for name in _ORDER if name in names]
    judgements = Counter(one.judgement for one in outcomes)
    judged = len(outcomes) - judgements[Judgement.UNKNOWN]
    ran = [one for one in outcomes if one.tier is not None and one.measured_tier is not None]
    return Confusion(
        split=outcomes[0].split,
        outcomes=tuple(order),
        counts=tuple(tuple(pairs[row, column] for column in order) for row in order),
        judged=judged,
        agree=_share(judgements[Judgement.RIGHT], judged),
        over_promise=_share(judgements[Judgement.OVER_PROMISE], judged),
        under_promise=_share(judgements[Judgement.UNDER_PROMISE], judged),
        unknown=judgements[Judgement.UNKNOWN],
        ran=len(ran),
        tiers_agree=_share(sum(one.tier == one.measured_tier for one in ran), len(ran)),
        near=sum(one.near for one in ran),
    )


def feasibility(outcomes: Sequence[Outcome]) -> Feasibility:
    """Recall, precision and regret of one rule on one split, of at least one outcome."""

    def count(applies: Callable[[Outcome], bool]) -> int:
        return sum(applies(one) for one in outcomes)

    def is_(*verdicts: Verdict) -> Callable[[Outcome], bool]:
        return lambda one: one.observation.verdict in verdicts

    ran = is_(Verdict.OK)
    oom, unsupported = is_(Verdict.OOM), is_(Verdict.UNSUPPORTED)
    says_oom = [one for one in outcomes if one.foretold == "oom"]
    says_unsupported = [one for one in outcomes if one.foretold == "unsupported"]
    in_vain = [one for one in outcomes if one.foretold == "ok" and not ran(one)]
    missed = [one for one in outcomes if oom(one) and not _refused(one)]
    wrongly = [one for one in outcomes if ran(one) and _refused(one)]
    return Feasibility(
        rule=outcomes[0].rule,
        split=outcomes[0].split,
        n=len(outcomes),
        oom=count(oom),
        oom_recall=_share(count(lambda one: oom(one) and _refused(one)), count(oom)),
        oom_precision=_share(
            sum(one.observation.verdict in _DEATHS for one in says_oom), len(says_oom)
        ),
        unsupported=count(unsupported),
        unsupported_recall=_share(
            count(lambda one: unsupported(one) and _refused(one)), count(unsupported)
        ),
        unsupported_precision=_share(
            sum(not ran(one) for one in says_unsupported), len(says_unsupported)
        ),
        unsure=count(lambda one: one.unsure),
        unknown=count(lambda one: one.foretold == "unknown"),
        missed=_names(missed),
        refused_wrongly=_names(wrongly),
        wasted_bytes=sum(_downloaded(one) for one in in_vain),
        in_vain=len(in_vain),
        capable_refused=len(wrongly),
        capable=count(ran),
    )


def _refused(one: Outcome) -> bool:
    return one.foretold in {"oom", "unsupported"}


def _downloaded(one: Outcome) -> int:
    return max(one.observation.file_bytes, one.observation.load_bytes)


def _names(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    names = Counter(
        f"{o.runtime} {o.model}/{o.quantisation} on {o.device}"
        for o in (one.observation for one in outcomes)
    )
    return tuple(
        name if times == 1 else f"{name} ({times} times)"
        for name, times in names.most_common(_MOST_NAMES)
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
