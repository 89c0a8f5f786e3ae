"""Fleet health: whether the lab's hosts work, and whether their figures can be trusted."""

from __future__ import annotations

from typing import Final

from results.dashboards.model import Dashboard, Unit, bars, groups, lines, stat
from results.dashboards.query import Query, count, equals, highest, latest, mean, median, over_time
from results.dashboards.variables import TagVariable, chosen
from results.influx.schema import HEALTH, PROBE, TRIAL

_VARIABLES: Final = (
    TagVariable("host", "host", measurement=HEALTH),
    TagVariable("profile", "device", measurement=HEALTH),
)
_CHOSEN: Final = chosen(*_VARIABLES)

FLEET: Final = Dashboard(
    name="fleet",
    title="fleet health",
    description="Whether the lab's hosts work, and whether their figures can be trusted.",
    variables=_VARIABLES,
    panels=(
        stat(
            "trials",
            "How many trials this time has.",
            Query(TRIAL, (count("trial_id"),), _CHOSEN),
        ),
        stat(
            "failed by the lab's fault",
            "Share of trials with the verdict infra. They say nothing of any device.",
            Query(HEALTH, (mean("infra"),), _CHOSEN),
            unit=Unit.SHARE,
            steps=((None, "green"), (0.02, "orange"), (0.1, "red")),
        ),
        stat(
            "host at rest",
            "Share of trials before which nothing else kept the host busy.",
            Query(HEALTH, (mean("at_rest"),), _CHOSEN),
            unit=Unit.SHARE,
            steps=((None, "red"), (0.8, "orange"), (0.95, "green")),
        ),
        stat(
            "highest temperature",
            "Just before a trial; empty where hosts have no sensor.",
            Query(HEALTH, (highest("temperature_celsius"),), _CHOSEN),
            unit=Unit.CELSIUS,
            steps=((None, "green"), (70, "orange"), (85, "red")),
        ),
        bars(
            "trials by verdict",
            "All verdicts; infra and cascade are the lab's own.",
            over_time(TRIAL, count("trial_id"), _CHOSEN, ("verdict",)),
        ),
        bars(
            "failures by the lab's fault",
            "By host and cause.",
            over_time(
                TRIAL,
                count("trial_id"),
                (*_CHOSEN, equals("verdict", "infra")),
                ("host", "cause"),
            ),
        ),
        lines(
            "load average a core",
            "Highest 1-minute load average over the number of cores, just before a trial. Near 1"
            " something else was running.",
            over_time(HEALTH, highest("load_per_core"), _CHOSEN, ("host",)),
        ),
        lines(
            "temperature",
            "Just before a trial.",
            over_time(HEALTH, highest("temperature_celsius"), _CHOSEN, ("host", "profile")),
            unit=Unit.CELSIUS,
        ),
        lines(
            "throttled time a trial",
            "Time for which a CPU limit held a load back: of limited devices.",
            over_time(HEALTH, mean("throttled_seconds"), _CHOSEN, ("host", "profile")),
            unit=Unit.SECONDS,
        ),
        lines(
            "the same probe again and again",
            "Weights that the probe's int4 kernel read a second, by threads. On one host this is a"
            " flat line; where it is not, the host changed or was not at rest.",
            over_time(
                PROBE,
                median("int4_layer_bytes_per_s"),
                (*_CHOSEN, equals("backend", "wasm")),
                ("host", "profile", "threads"),
            ),
            unit=Unit.BYTES,
        ),
        groups(
            "hosts",
            "What each host last said of itself.",
            Query(
                HEALTH,
                (
                    latest("load_average", "load average"),
                    latest("temperature_celsius", "temperature"),
                    latest("cores", "cores"),
                    latest("memory_bytes", "memory"),
                    latest("operating_system", "system"),
                    latest("harness_version", "tierlab"),
                ),
                _CHOSEN,
                ("host", "profile"),
            ),
            units={"memory": Unit.BYTES, "temperature": Unit.CELSIUS},
        ),
    ),
)
