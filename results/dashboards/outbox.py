"""The outbox: what still has to be sent, and what the database refused."""

from __future__ import annotations

from typing import Final

from results.dashboards.model import Dashboard, Unit, bars, groups, lines
from results.dashboards.query import Query, count, highest, latest, over_time
from results.dashboards.variables import TagVariable, chosen
from results.influx.schema import OUTBOX as GAUGES
from results.influx.schema import TRIAL

_HOST: Final = TagVariable("host", "host", measurement=GAUGES)
_CHOSEN: Final = chosen(_HOST)


def _gauge(field: str) -> Query:
    return over_time(GAUGES, highest(field), _CHOSEN, ("host",))


OUTBOX: Final = Dashboard(
    name="outbox",
    title="outbox",
    description="What hosts still have to send, and what the database refused. A host that does"
    " not reach the database is seen by its silence.",
    variables=(_HOST,),
    panels=(
        lines(
            "records that wait",
            "Counted when something was sent. It should come down to 0.",
            _gauge("waiting"),
        ),
        lines(
            "refused lines",
            "`tierlab outbox list` on the host says why.",
            _gauge("parked"),
            steps=((None, "green"), (1, "red")),
        ),
        lines(
            "age of the oldest record that waits",
            "About as long as the database was out of reach.",
            _gauge("oldest_seconds"),
            unit=Unit.SECONDS,
        ),
        bars(
            "records that arrived",
            "By the time of the trial, not of its delivery.",
            over_time(TRIAL, count("trial_id"), _CHOSEN, ("host",)),
        ),
        groups(
            "hosts",
            "What each host last said.",
            Query(
                GAUGES,
                (
                    latest("waiting", "waiting"),
                    latest("parked", "refused"),
                    latest("oldest_seconds", "oldest"),
                ),
                _CHOSEN,
                ("host",),
            ),
            units={"oldest": Unit.SECONDS},
        ),
    ),
)
