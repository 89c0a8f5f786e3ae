"""Judge a prediction against what happened: right, or wrong in which direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from results.record import Judgement, Verdict
from results.tiers import TIERS

if TYPE_CHECKING:
    from results.record import Prediction, Tiers
    from results.tiers import Tier


def judge_prediction(
    prediction: Prediction, verdict: Verdict, tiers: Tiers
) -> tuple[Judgement, str]:
    """Compare a prediction with the verdict and the measured tiers; the judgement and its reason.

    *Over-promise*: a user would have wasted a download or lost a tab. *Under-promise*: a capable
    user would have been refused. Predicting "unknown" is never wrong, and a trial that says
    nothing about the device (`infra`, `cascade`) judges nothing.
    """
    if verdict in {Verdict.INFRA, Verdict.CASCADE}:
        return Judgement.UNKNOWN, f"the trial says nothing about the device ({verdict})"
    if prediction.verdict == "unknown":
        return Judgement.UNKNOWN, f"nothing was predicted: {prediction.reason}"
    if prediction.verdict == "ok" and verdict is not Verdict.OK:
        return Judgement.OVER_PROMISE, f"predicted that it runs, but it ended as {verdict}"
    if prediction.verdict != "ok" and verdict is Verdict.OK:
        return Judgement.UNDER_PROMISE, f"predicted {prediction.verdict}, but it runs"
    if verdict is not Verdict.OK:
        same = prediction.verdict == str(verdict)
        return Judgement.RIGHT, (
            f"predicted {verdict}, and so it was"
            if same
            else f"predicted {prediction.verdict}, ended as {verdict}: either way it does not run"
        )
    return _judge_tiers(prediction.tier, tiers.pair)


def _judge_tiers(predicted: Tier | None, measured: Tier | None) -> tuple[Judgement, str]:
    if predicted is None or measured is None:
        return Judgement.UNKNOWN, "it runs as predicted; a tier is not known on both sides"
    if predicted == measured:
        return Judgement.RIGHT, f"predicted tier {predicted}, and so it was"
    over = TIERS.index(predicted) > TIERS.index(measured)
    return (
        Judgement.OVER_PROMISE if over else Judgement.UNDER_PROMISE,
        f"predicted tier {predicted}, measured {measured}",
    )
