"""Tier accuracy: how often the probe's prediction was right, and how it was not."""

from __future__ import annotations

from typing import Final

from results.dashboards.model import Dashboard, Panel, Unit, bars, groups, lines, points, stat
from results.dashboards.query import (
    Column,
    Query,
    count,
    differs,
    ends_with,
    equals,
    mean,
    median,
    over_time,
)
from results.dashboards.variables import OWN_FIGURES, WORKLOAD, chosen
from results.influx.schema import TRIAL

_VARIABLES: Final = (*WORKLOAD, *OWN_FIGURES)
_CHOSEN: Final = chosen(*_VARIABLES)
_JUDGED: Final = (*_CHOSEN, differs("judgement", "unknown"))

_BOUNDS: Final = {
    "load": "load_seconds",
    "first token": "first_token_seconds",
    "prefill": "prefill_tokens_per_s",
    "decode": "decode_tokens_per_s",
    "peak memory": "peak_bytes",
}


def _ratio(name: str, metric: str, above: str) -> Panel:
    return lines(
        f"{name}: measured over predicted",
        f"Median of the ratios. Above 1 {above} than foretold.",
        over_time(TRIAL, median(f"{metric}_ratio"), _CHOSEN, ("runtime",)),
    )


ACCURACY: Final = Dashboard(
    name="accuracy",
    title="tier accuracy",
    description="How often the zero-weight probe foretold what the full load then did.",
    variables=_VARIABLES,
    panels=(
        stat(
            "predictions that were right",
            "Of the trials that can be judged: something was predicted, and found out.",
            Query(TRIAL, (mean("prediction_right"),), _CHOSEN),
            unit=Unit.SHARE,
            steps=((None, "red"), (0.8, "orange"), (0.9, "green")),
        ),
        stat(
            "over-promised",
            "A user would have wasted a download, or lost a tab.",
            Query(TRIAL, (mean("over_promise"),), _CHOSEN),
            unit=Unit.SHARE,
            steps=((None, "green"), (0.05, "orange"), (0.1, "red")),
        ),
        stat(
            "under-promised",
            "A capable user would have been refused.",
            Query(TRIAL, (mean("under_promise"),), _CHOSEN),
            unit=Unit.SHARE,
            steps=((None, "green"), (0.05, "orange"), (0.1, "red")),
        ),
        stat(
            "judged trials",
            "How many trials the shares rest on.",
            Query(TRIAL, (count("prediction_right"),), _CHOSEN),
        ),
        lines(
            "right predictions",
            "Share of the judged trials of a day, by runtime.",
            over_time(TRIAL, mean("prediction_right"), _CHOSEN, ("runtime",)),
            unit=Unit.SHARE,
            interval="1d",
        ),
        bars(
            "judgements",
            "Trials of a day. Unknown: nothing was predicted, or the trial says nothing of the"
            " device.",
            over_time(TRIAL, count("trial_id"), _CHOSEN, ("judgement",)),
            interval="1d",
        ),
        groups(
            "predicted tier against measured tier",
            "Judged trials: a row a predicted tier, a column a measured one.",
            Query(TRIAL, (count("trial_id", "trials"),), _JUDGED, ("predicted_tier", "tier")),
            crossed=("predicted_tier", "tier", "trials"),
            width=12,
        ),
        groups(
            "predicted verdict against what happened",
            "Judged trials: a row a predicted verdict, a column what happened.",
            Query(TRIAL, (count("trial_id", "trials"),), _JUDGED, ("predicted_verdict", "verdict")),
            crossed=("predicted_verdict", "verdict", "trials"),
            width=12,
        ),
        _ratio("decode", "decode_tokens_per_s", "the device was faster"),
        _ratio("prefill", "prefill_tokens_per_s", "the device was faster"),
        _ratio("peak memory", "peak_bytes", "it took more"),
        _ratio("load time", "load_seconds", "it took longer"),
        groups(
            "how often the measured value was within the predicted bounds",
            "Honest bounds hold 9 times in 10; if far more often, they are too wide.",
            Query(
                TRIAL,
                (
                    *(mean(f"{metric}_within", name) for name, metric in _BOUNDS.items()),
                    count("trial_id", "trials"),
                ),
                (*_CHOSEN, equals("verdict", "ok")),
                ("runtime",),
            ),
            units=dict.fromkeys(_BOUNDS, Unit.SHARE),
        ),
        points(
            "the latest wrong predictions",
            "`tierlab runs show` has the evidence of a trial.",
            Query(
                TRIAL,
                tuple(
                    Column(name)
                    for name in (
                        "profile", "model", "runtime", "judgement", "judgement_reason",
                        "run_id", "trial_id",
                    )
                ),
                (*_CHOSEN, ends_with("judgement", "promise")),
                latest=100,
            ),
        ),
    ),
)  # fmt: skip
