"""Grafana dashboards over what tierlab writes to InfluxDB, generated as files to provision.

The JSON is Grafana's classic dashboard model, which every Grafana since 8 reads:
https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from results.dashboards.accuracy import ACCURACY
from results.dashboards.fleet import FLEET
from results.dashboards.memory import MEMORY
from results.dashboards.outbox import OUTBOX
from results.dashboards.speed import SPEED

if TYPE_CHECKING:
    from results.dashboards.model import Dashboard

DASHBOARDS: Final[tuple[Dashboard, ...]] = (FLEET, ACCURACY, SPEED, MEMORY, OUTBOX)
