"""Tokens a second by browser version: what an update did."""

from __future__ import annotations

from typing import Final

from results.dashboards.model import Dashboard, Unit, groups, lines
from results.dashboards.query import Query, count, equals, highest, lowest, median, over_time
from results.dashboards.variables import OWN_FIGURES, WORKLOAD, TagVariable, chosen
from results.influx.schema import TRIAL

_VARIABLES: Final = (*WORKLOAD, TagVariable("browser", "browser"), *OWN_FIGURES)
_RAN: Final = (*chosen(*_VARIABLES), equals("verdict", "ok"))
# Trials that differ in any of these cannot be compared; a series is of ordinary loads only.
_SERIES: Final = ("runtime", "model", "quantisation", "profile", "host")
_CELL: Final = (*_SERIES, "variant", "source")
_ORDINARY: Final = (equals("variant", "none"), equals("source", "network"))

_SUMMARY: Final = (
    median("decode_tokens_per_s", "decode"),
    # Of few trials InfluxQL knows no 10th percentile.
    lowest("decode_tokens_per_s", "lowest"),
    highest("decode_tokens_per_s", "highest"),
    median("prefill_tokens_per_s", "prefill"),
    median("first_token_seconds", "first token"),
    median("load_seconds", "load"),
    median("peak_bytes", "peak memory"),
    count("trial_id", "trials"),
)
_UNITS: Final = {
    **dict.fromkeys(("decode", "lowest", "highest", "prefill"), Unit.RATE),
    **dict.fromkeys(("first token", "load"), Unit.SECONDS),
    "peak memory": Unit.BYTES,
}


def _by_version(metric: str) -> Query:
    return over_time(
        TRIAL,
        median(metric),
        (*_RAN, *_ORDINARY),
        ("browser", "browser_version", *_SERIES),
        "$tag_browser $tag_browser_version: $tag_model/$tag_quantisation $tag_runtime"
        " on $tag_profile at $tag_host",
    )


SPEED: Final = Dashboard(
    name="speed",
    title="tokens/s by browser version",
    description="What an update of a browser or of an engine did to speed. `tierlab regressions`"
    " gives a verdict with an interval.",
    variables=_VARIABLES,
    panels=(
        lines(
            "decode by browser version",
            "Writing the answer; median of the trials of a time, of whole models from the network.",
            _by_version("decode_tokens_per_s"),
            unit=Unit.RATE,
            width=24,
            height=10,
        ),
        lines(
            "prefill by browser version",
            "Reading the prompt; median of the trials of a time, of whole models from the network.",
            _by_version("prefill_tokens_per_s"),
            unit=Unit.RATE,
        ),
        lines(
            "first token by browser version",
            "As a user meets it first; median of the trials of a time, of whole models from the"
            " network.",
            _by_version("first_token_seconds"),
            unit=Unit.SECONDS,
        ),
        groups(
            "by browser version",
            "Medians over the whole time, lowest and highest decode, and how many trials they rest"
            " on.",
            Query(TRIAL, _SUMMARY, _RAN, ("browser", "browser_version", *_CELL)),
            units=_UNITS,
            height=10,
        ),
        groups(
            "by version of the engine",
            "Medians over the whole time, lowest and highest decode, and how many trials they rest"
            " on.",
            Query(TRIAL, _SUMMARY, _RAN, ("runtime_version", *_CELL)),
            units=_UNITS,
            height=10,
        ),
    ),
)
