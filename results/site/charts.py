"""Charts as Vega-Lite specifications.

Each kind of chart is a pure function from points to a specification. Colours are the light ones;
the style sheet puts the dark ones in their place by attribute, and text and axes take the page's
own colour. Nothing is told by colour alone: series differ in shape or dash as well.

Specification: https://vega.github.io/vega-lite/docs/spec.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from results.site.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS: Final = ("#0072b2", "#c44e00", "#00805a", "#a8467f", "#6b5b00", "#555555")
"""One a series, for light pages: each stands out from white at 3:1 at least (WCAG 1.4.11).

`site.css` names each with the colour that takes its place on dark pages.
"""

_SHAPES: Final = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
_DASHES: Final = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 6])
_OTHERS: Final = "others"
_LABEL: Final = 44
_HALF_A_CHART: Final = 20
_INK: Final = "currentColor"
_SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
_CONFIG: Final[dict[str, Any]] = {
    "background": None,
    # A chart is one image with a title of its own, and its table stands beside it.
    "aria": False,
    "font": "sans-serif",
    "axis": {
        "labelColor": _INK,
        "titleColor": _INK,
        "domainColor": _INK,
        "tickColor": _INK,
        "gridColor": _INK,
        "gridOpacity": 0.14,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        # Labels are cut here, by characters: Vega cuts one in halves, which no XML can hold.
        "labelLimit": 0,
        # Pages use a font of their own, which may be wider than the one measured here.
        "labelOverlap": "greedy",
        "labelSeparation": 10,
    },
    "legend": {
        "labelColor": _INK,
        "titleColor": _INK,
        "labelFontSize": 12,
        "orient": "top",
        "direction": "horizontal",
        "columns": 2,
        "columnPadding": 28,
        "labelLimit": 0,
        "title": None,
        "symbolStrokeColor": _INK,
    },
    "text": {"color": _INK, "fontSize": 11},
    "view": {"stroke": None},
}


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its title with the unit."""

    title: str
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """A measured value beside what was predicted of it; `None` where there is none."""

    name: str
    low: float | None
    expected: float | None
    high: float | None
    measured: float | None


@dataclass(frozen=True, slots=True)
class Hit:
    """Predicted and measured value of one cell, and which series it belongs to."""

    series: str
    expected: float
    low: float
    high: float
    measured: float


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a line."""

    series: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened at `x`, written along a line."""

    x: float
    text: str


@dataclass(frozen=True, slots=True)
class Dated:
    """What was measured with one version: median, lowest and highest."""

    series: str
    version: str
    median: float
    low: float
    high: float


def complete(spec: dict[str, Any]) -> dict[str, Any]:
    """The specification with what all charts have in common."""
    return {"$schema": _SCHEMA, "config": _CONFIG, **spec}


def forecast_chart(rows: Sequence[Forecast], axis: Axis) -> dict[str, Any]:
    """A line a workload: the predicted interval as a bar, the measured value as a point."""
    names = _distinct([row.name for row in rows])
    values = [
        {"name": name, "low": r.low, "expected": r.expected, "high": r.high, "measured": r.measured}
        for name, r in zip(names, rows, strict=True)
    ]
    y = {"field": "name", "type": "nominal", "sort": names, "title": None}
    x = _quantitative(axis)
    return {
        "width": 420,
        "height": {"step": 26},
        "padding": {"left": 40, "top": 5, "right": 10, "bottom": 5},
        "data": {"values": values},
        "encoding": {"y": y | {"axis": {"domain": False, "ticks": False}}},
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low) && isValid(datum.high)"}],
                "mark": {"type": "bar", "height": 10, "opacity": 0.32},
                "encoding": {
                    "x": x | {"field": "low"},
                    "x2": {"field": "high"},
                    "color": {"value": COLOURS[0]},
                },
            },
            {
                "transform": [{"filter": "isValid(datum.expected)"}],
                "mark": {"type": "tick", "thickness": 2, "height": 16},
                "encoding": {"x": x | {"field": "expected"}, "color": {"value": COLOURS[0]}},
            },
            {
                "transform": [{"filter": "isValid(datum.measured)"}],
                "mark": {"type": "point", "filled": True, "size": 80, "shape": "diamond"},
                "encoding": {
                    "x": x | {"field": "measured"},
                    "color": {"value": COLOURS[1]},
                    "opacity": {"value": 1},
                },
            },
        ],
    }


def hits_chart(hits: Sequence[Hit], metric: str) -> dict[str, Any]:
    """Measured over predicted on logarithmic axes, with the line on which both are the same."""
    series = _few([hit.series for hit in hits])
    values = [
        {
            "series": _known(hit.series, series),
            "expected": hit.expected,
            "low": hit.low,
            "high": hit.high,
            "measured": hit.measured,
        }
        for hit in hits
    ]
    columns = 1 if any(len(name) > _HALF_A_CHART for name in series) else 2
    lowest = min(min(hit.expected, hit.measured) for hit in hits) / 1.5
    highest = max(max(hit.expected, hit.measured) for hit in hits) * 1.5
    scale = {"type": "log", "domain": [lowest, highest], "clamp": True}
    x = {"type": "quantitative", "scale": scale, "title": f"predicted {metric}"}
    y = {"type": "quantitative", "scale": scale, "title": f"measured {metric}"}
    return {
        "width": 340,
        "height": 300,
        "layer": [
            {
                "data": {"values": [{"a": lowest, "b": highest}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": _INK, "opacity": 0.6},
                "encoding": {
                    "x": x | {"field": "a"},
                    "y": y | {"field": "a"},
                    "x2": {"field": "b"},
                    "y2": {"field": "b"},
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "rule", "opacity": 0.45},
                "encoding": {
                    "x": x | {"field": "low"},
                    "x2": {"field": "high"},
                    "y": y | {"field": "measured"},
                    "color": _coloured(series),
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.9},
                "encoding": {
                    "x": x | {"field": "expected"},
                    "y": y | {"field": "measured"},
                    "color": _coloured(series) | {"legend": {"columns": columns}},
                    "shape": {
                        "field": "series",
                        "scale": {"domain": series, "range": list(_SHAPES[: len(series)])},
                    },
                },
            },
        ],
    }


def lines_chart(
    points: Sequence[Point],
    x_title: str,
    y_title: str,
    *,
    limit: Moment | None = None,
    moments: Sequence[Moment] = (),
) -> dict[str, Any]:
    """Lines over time.

    Args:
        points: of all series.
        x_title: of the axis of time.
        y_title: of the other one.
        limit: a level on the other axis, and what it is.
        moments: what happened when.
    """
    series = _few([point.series for point in points])
    values = [{"series": _known(p.series, series), "x": p.x, "y": p.y} for p in points]
    layers: list[dict[str, Any]] = [
        {
            "data": {"values": values},
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {
                "x": {"field": "x", "type": "quantitative", "title": x_title},
                "y": {
                    "field": "y",
                    "type": "quantitative",
                    "title": y_title,
                    # Room above for what is written there.
                    "scale": {"domain": [0, 1.3 * max(point.y for point in points) or 1]},
                },
                "color": _coloured(series)
                | {"legend": {"columns": len(series), "columnPadding": 20}},
                "strokeDash": {
                    "field": "series",
                    "scale": {"domain": series, "range": list(_DASHES[: len(series)])},
                },
            },
        }
    ]
    if limit:
        level = {"y": {"field": "level", "type": "quantitative"}}
        layers += [
            _with([{"level": limit.x}], {"type": "rule", "color": _INK, "strokeWidth": 1.5}, level),
            _with(
                [{"level": limit.x, "text": clean(limit.text, _LABEL)}],
                {"type": "text", "align": "left", "dx": 24, "dy": -6},
                level | {"text": {"field": "text"}, "x": {"value": 0}},
            ),
        ]
    if moments:
        marks = [{"at": moment.x, "text": clean(moment.text, _LABEL)} for moment in moments]
        at = {"x": {"field": "at", "type": "quantitative"}}
        layers += [
            _with(
                marks,
                {"type": "rule", "color": _INK, "opacity": 0.45, "strokeDash": [2, 3]},
                at,
            ),
            _with(
                marks,
                {
                    "type": "text",
                    "angle": 270,
                    "align": "right",
                    "dy": -5,
                    "dx": -3,
                    "fontSize": 10,
                },
                at | {"text": {"field": "text"}, "y": {"value": 0}},
            ),
        ]
    return {"width": 640, "height": 240, "layer": layers}


def trend_chart(points: Sequence[Dated], y_title: str) -> dict[str, Any]:
    """The median a version in the order given, with a line from the lowest to the highest."""
    versions = list(dict.fromkeys(clean(point.version, _LABEL) for point in points))
    series = _few([point.series for point in points])
    values = [
        {
            "series": _known(p.series, series),
            "version": clean(p.version, _LABEL),
            "median": p.median,
            "low": p.low,
            "high": p.high,
        }
        for p in points
    ]
    x = {
        "field": "version",
        "type": "ordinal",
        "sort": versions,
        "title": "browser version",
        "axis": {"labelAngle": -30},
    }
    y = {"type": "quantitative", "title": y_title}
    return {
        "width": 420,
        "height": 200,
        "padding": {"left": 20, "top": 5, "right": 20, "bottom": 5},
        "data": {"values": values},
        "encoding": {"x": x, "color": _coloured(series) | {"legend": {"columns": 1}}},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
                "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}},
            },
            {"mark": {"type": "line"}, "encoding": {"y": y | {"field": "median"}}},
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {
                    "y": y | {"field": "median"},
                    "shape": {
                        "field": "series",
                        "scale": {"domain": series, "range": list(_SHAPES[: len(series)])},
                    },
                },
            },
        ],
    }


def _with(
    values: list[dict[str, Any]], mark: dict[str, Any], encoding: dict[str, Any]
) -> dict[str, Any]:
    return {"data": {"values": values}, "mark": mark, "encoding": encoding}


def _quantitative(axis: Axis) -> dict[str, Any]:
    scale = {"type": "log"} if axis.logarithmic else {"zero": True}
    return {"type": "quantitative", "title": axis.title, "scale": scale}


def _coloured(series: list[str]) -> dict[str, Any]:
    return {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": series, "range": list(COLOURS[: len(series)])},
    }


def _few(names: Sequence[str]) -> list[str]:
    """The series in order of their first point; of more than there are colours, the rest as one."""
    series = list(dict.fromkeys(clean(name, _LABEL) for name in names))
    return series if len(series) <= len(COLOURS) else [*series[: len(COLOURS) - 1], _OTHERS]


def _known(name: str, series: list[str]) -> str:
    shown = clean(name, _LABEL)
    return shown if shown in series else _OTHERS


def _distinct(names: Sequence[str]) -> list[str]:
    """The names as they fit an axis, each told apart from any that reads the same."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        shown = clean(name, _LABEL)
        seen[shown] = seen.get(shown, 0) + 1
        distinct.append(shown if seen[shown] == 1 else f"{shown} ({seen[shown]})")
    return distinct
