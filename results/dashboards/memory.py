"""OOMs: where memory ran out, whether that was foretold, and how it came."""

from __future__ import annotations

from typing import Final

from results.dashboards.model import Dashboard, Unit, bars, groups, lines, points, stat
from results.dashboards.query import (
    Column,
    Query,
    count,
    equals,
    highest,
    latest,
    mean,
    median,
    over_time,
    total,
)
from results.dashboards.variables import ALL_FIGURES, WORKLOAD, chosen
from results.influx.schema import MEMORY as CURVES
from results.influx.schema import TRIAL

_VARIABLES: Final = (*WORKLOAD, *ALL_FIGURES)
_CHOSEN: Final = chosen(*_VARIABLES)
_DIED: Final = (*_CHOSEN, equals("verdict", "oom"))


def _curve(field: str, name: str) -> Query:
    return over_time(
        CURVES,
        highest(field),
        _DIED,
        ("profile", "model", "quantisation", "runtime"),
        f"{name}: $tag_model/$tag_quantisation $tag_runtime on $tag_profile",
    )


MEMORY: Final = Dashboard(
    name="memory",
    title="OOMs",
    description="Where memory ran out, whether that was foretold, and how it came.",
    variables=_VARIABLES,
    panels=(
        stat(
            "OOMs",
            "Trials that ended because memory ran out.",
            Query(TRIAL, (total("oom"),), _CHOSEN),
            steps=((None, "green"), (1, "orange")),
        ),
        stat(
            "share of all trials",
            "Of those that say something of a device.",
            Query(TRIAL, (mean("oom"),), _CHOSEN),
            unit=Unit.SHARE,
        ),
        stat(
            "foretold",
            "Share of the OOMs of which the probe had said that it would not run.",
            Query(TRIAL, (mean("prediction_right"),), _DIED),
            unit=Unit.SHARE,
            steps=((None, "red"), (0.8, "orange"), (0.9, "green")),
        ),
        stat(
            "until it was noticed",
            "Longest time from the first sign of a death to the end of its trial.",
            Query(TRIAL, (highest("detection_seconds"),), _DIED),
            unit=Unit.SECONDS,
        ),
        bars(
            "OOMs by device",
            "Limited devices are named by their profile.",
            over_time(TRIAL, total("oom"), _DIED, ("profile",)),
        ),
        bars(
            "OOMs by cause",
            "The rule that decided: the kernel's counter, the browser, an allocator.",
            over_time(TRIAL, total("oom"), _DIED, ("cause",)),
        ),
        lines(
            "memory curves of what died",
            "Resident bytes of the processes that hold the model, and of the limited group. Choose"
            " the minutes of one trial.",
            _curve("model_bytes", "model"),
            _curve("group_bytes", "group"),
            unit=Unit.BYTES,
            width=24,
            height=10,
            interval="1s",
        ),
        groups(
            "OOMs by cell",
            "Peaks are of the processes that hold the model.",
            Query(
                TRIAL,
                (
                    count("trial_id", "OOMs"),
                    highest("peak_bytes", "highest peak"),
                    median("predicted_peak_bytes", "predicted peak"),
                    latest("memory_limit_bytes", "limit"),
                ),
                _DIED,
                ("profile", "model", "quantisation", "variant", "runtime", "source"),
            ),
            units=dict.fromkeys(("highest peak", "predicted peak", "limit"), Unit.BYTES),
        ),
        points(
            "the latest OOMs",
            "`tierlab runs show` has the evidence of a trial.",
            Query(
                TRIAL,
                tuple(
                    Column(name)
                    for name in (
                        "profile", "model", "runtime", "cause", "predicted_verdict", "peak_bytes",
                        "explanation", "run_id", "trial_id",
                    )
                ),
                _DIED,
                latest=100,
            ),
            units={"peak_bytes": Unit.BYTES},
        ),
    ),
)  # fmt: skip
