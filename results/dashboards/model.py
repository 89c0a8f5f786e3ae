"""Panels and dashboards, and the JSON that Grafana reads of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from results.dashboards.variables import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from results.dashboards.query import Query
    from results.dashboards.variables import Variable

    Json = dict[str, Any]

# The classic model as Grafana 10 writes it; newer ones migrate it when they load it.
SCHEMA_VERSION: Final = 39

TAG: Final = "tierlab"

_COLUMNS: Final = 24
"""Grafana's grid has so many."""


class Unit(StrEnum):
    """How Grafana writes a value."""

    COUNT = "short"
    SECONDS = "s"
    BYTES = "decbytes"
    CELSIUS = "celsius"
    SHARE = "percentunit"
    RATE = "suffix: tok/s"


class Look(TypedDict, total=False):
    """What a panel may look like, other than is usual for its kind; see `Panel`."""

    unit: Unit
    width: int
    height: int
    interval: str
    steps: tuple[tuple[float | None, str], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: what it asks, and how the answer is shown.

    Attributes:
        kind: Grafana's name of the visualisation.
        description: what a reader needs to read it rightly.
        width: in columns; 24 are a row.
        height: in Grafana's steps of 30 pixels.
        interval: the shortest `$__interval`: trials are rare, and a count a second says nothing.
        steps: lower bounds, and the colours from there on; the first has no bound.
        custom: of `fieldConfig.defaults`, what is special to the visualisation.
        options: of the visualisation.
        units: of single columns of a table, by heading.
        transformations: what is done with a table before it is shown.
    """

    kind: str
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit = Unit.COUNT
    width: int = 12
    height: int = 8
    interval: str = "1h"
    steps: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    custom: Json = field(default_factory=dict)
    options: Json = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)
    transformations: tuple[Json, ...] = ()

    def json(self, number: int, x: int, y: int) -> Json:
        """As Grafana reads it, at that place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "interval": self.interval,
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": self.options,
            "transformations": list(self.transformations),
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
        }

    def _defaults(self) -> Json:
        steps = [{"value": bound, "color": color} for bound, color in self.steps]
        return {
            "unit": self.unit,
            "custom": self.custom,
            "thresholds": {"mode": "absolute", "steps": steps},
        }

    def _overrides(self) -> list[Json]:
        return [
            {
                "matcher": {"id": "byName", "options": heading},
                "properties": [{"id": "unit", "value": unit}],
            }
            for heading, unit in self.units.items()
        ]

    def _target(self, place: int, query: Query) -> Json:
        return {
            "refId": chr(ord("A") + place),
            "datasource": DATASOURCE,
            "query": query.text,
            "rawQuery": True,
            "resultFormat": "table" if self.kind == "table" else "time_series",
            "alias": query.legend,
        }


def stat(title: str, description: str, query: Query, **look: Unpack[Look]) -> Panel:
    """One number, a quarter of a row."""
    shown: Look = {"width": 6, "height": 4, **look}
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
    }
    return Panel("stat", title, description, (query,), options=options, **shown)


def lines(title: str, description: str, *queries: Query, **look: Unpack[Look]) -> Panel:
    """Values over time, as points joined by lines: trials are few and far between."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "showPoints": "always",
        "pointSize": 6,
        "spanNulls": True,
    }
    return Panel("timeseries", title, description, queries, custom=custom, options=_SERIES, **look)


def bars(title: str, description: str, *queries: Query, **look: Unpack[Look]) -> Panel:
    """Counts over time, on top of each other."""
    custom = {
        "drawStyle": "bars",
        "fillOpacity": 80,
        "lineWidth": 0,
        "stacking": {"mode": "normal", "group": "A"},
    }
    return Panel("timeseries", title, description, queries, custom=custom, options=_SERIES, **look)


def groups(
    title: str,
    description: str,
    query: Query,
    *,
    units: Mapping[str, Unit] | None = None,
    crossed: tuple[str, str, str] | None = None,
    **look: Unpack[Look],
) -> Panel:
    """A table with a row a group of the query.

    Args:
        title: of the panel.
        description: of the panel.
        query: groups of the whole time range.
        units: of columns, by heading.
        crossed: headings of what becomes rows, columns and cells, where there are two groups.
        look: of the panel.
    """
    transformations = (_WITHOUT_TIME, _crossed(*crossed)) if crossed else (_WITHOUT_TIME,)
    shown: Look = {"width": 24, **look}
    return Panel(
        "table", title, description, (query,), options=_TABLE, units=units or {},
        transformations=transformations, **shown,
    )  # fmt: skip


def points(
    title: str,
    description: str,
    query: Query,
    *,
    units: Mapping[str, Unit] | None = None,
    **look: Unpack[Look],
) -> Panel:
    """A table with a row a point, each with its time."""
    shown: Look = {"width": 24, **look}
    return Panel("table", title, description, (query,), options=_TABLE, units=units or {}, **shown)


_TABLE: Final = {"showHeader": True, "cellHeight": "sm"}

_SERIES: Final = {
    "legend": {
        "displayMode": "table",
        "placement": "bottom",
        "showLegend": True,
        "calcs": ["lastNotNull"],
    },
    "tooltip": {"mode": "multi", "sort": "desc"},
}

# The time of a group of the whole range is no more than the range's beginning.
_WITHOUT_TIME: Final = {"id": "organize", "options": {"excludeByName": {"Time": True}}}


def _crossed(rows: str, columns: str, cells: str) -> Json:
    return {
        "id": "groupingToMatrix",
        "options": {
            "rowField": rows,
            "columnField": columns,
            "valueField": cells,
            "emptyValue": "empty",
        },
    }


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard: its panels in reading order, in rows as they fit."""

    name: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]

    @property
    def uid(self) -> str:
        """Its identity in Grafana, and in the addresses of its pages."""
        return f"tierlab-{self.name}"

    def json(self) -> Json:
        """As Grafana reads it."""
        return {
            "uid": self.uid,
            "title": f"tierlab: {self.title}",
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "timezone": "browser",
            "time": {"from": "now-30d", "to": "now"},
            "refresh": "5m",
            "graphTooltip": 1,  # one cross-hair for all panels
            "templating": {"list": [variable.json() for variable in self.variables]},
            "annotations": {"list": []},
            "links": [_TO_THE_OTHERS],
            "panels": list(self._placed()),
        }

    def _placed(self) -> Iterator[Json]:
        x = y = height = 0
        for number, panel in enumerate(self.panels, start=1):
            if x + panel.width > _COLUMNS:
                x, y, height = 0, y + height, 0
            yield panel.json(number, x, y)
            x, height = x + panel.width, max(height, panel.height)


_TO_THE_OTHERS: Final = {
    "type": "dashboards",
    "title": "tierlab",
    "tags": [TAG],
    "asDropdown": True,
    "includeVars": True,
    "keepTime": True,
    "targetBlank": False,
    "icon": "external link",
    "tooltip": "",
    "url": "",
}
