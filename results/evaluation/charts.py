"""The pictures of an evaluation as Vega-Lite specifications."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from results.evaluation.bounds import words
from results.evaluation.cases import PROBE
from results.evaluation.costs import FULL_LOAD
from results.evaluation.figures import EVERYTHING
from results.evaluation.folds import Split
from results.observation import Quantity
from results.site.charts import COLOURS, Hit, hits_chart
from results.site.text import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.evaluation.cases import Case
    from results.evaluation.figures import Confusion, Evaluation

_LABEL: Final = 40
_SPEEDS: Final = (Quantity.DECODE, Quantity.PREFILL)
# Errors beyond it are all the same to a reader, and would press the others together.
_LARGEST: Final = 3.0
_LEAST: Final = 1e-3
_SHAPES: Final = (
    *("circle", "square", "cross", "diamond", "triangle-up", "triangle-down"),
    *("triangle-left", "triangle-right", "stroke"),
)


def pictures(
    evaluation: Evaluation, cases: Sequence[Case]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """Name of the file, title and specification of each picture that there is something for."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for quantity in _SPEEDS:
        hits = _hits(cases, quantity)
        if hits:
            found[f"{quantity}-predicted-measured"] = (
                f"{words(quantity)}: predicted against measured, device class left out",
                hits_chart(hits, f"{words(quantity)} in tokens/s"),
            )
    for confusion in evaluation.tiers:
        if confusion.split is Split.DEVICE:
            title = "predicted and measured tiers, device class left out"
            found["confusion"] = (title, confusion_chart(confusion))
    for name, title, values in (
        ("errors-by-device", "errors of decode by device class", _by_device(cases)),
        ("baselines", "errors of simpler rules, device class left out", _by_rule(evaluation)),
        ("ablation", "errors without a term, device class left out", _by_term(evaluation)),
    ):
        if values:
            found[name] = (title, bars_chart(values))
    if evaluation.costs:
        found["cost"] = ("cost against accuracy, decode", cost_chart(evaluation))
    return found


def _hits(cases: Sequence[Case], quantity: Quantity) -> list[Hit]:
    found = []
    for case in cases:
        if case.rule != PROBE or case.split is not Split.DEVICE or case.quantity is not quantity:
            continue
        o = case.observation
        tokens = o.prompt_tokens if quantity is Quantity.PREFILL else 1
        found.append(
            Hit(
                series=o.runtime,
                expected=tokens / case.expected,
                low=tokens / (case.high or case.expected),
                high=tokens / (case.low or case.expected),
                measured=tokens / case.measured,
            )
        )
    return sorted(found, key=lambda hit: hit.series)


def confusion_chart(confusion: Confusion) -> dict[str, Any]:
    """A square for each pair of outcomes, darker the more there are, and the number in it."""
    values = [
        {"predicted": row, "measured": column, "count": count, "right": row == column}
        for row, counts in zip(confusion.outcomes, confusion.counts, strict=True)
        for column, count in zip(confusion.outcomes, counts, strict=True)
    ]
    order = list(confusion.outcomes)
    axis = {"type": "nominal", "sort": order}
    return {
        "width": {"step": 64},
        "height": {"step": 36},
        "data": {"values": values},
        "encoding": {
            "x": axis | {"field": "measured", "title": "measured", "axis": {"labelAngle": 0}},
            "y": axis | {"field": "predicted", "title": "predicted"},
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": "#999999", "strokeWidth": 0.5},
                "encoding": {
                    "color": {
                        "condition": {"test": "datum.right", "value": COLOURS[0]},
                        "value": COLOURS[1],
                    },
                    "opacity": {
                        "field": "count",
                        "type": "quantitative",
                        "scale": {"type": "sqrt", "range": [0, 0.55]},
                        "legend": None,
                    },
                },
            },
            {
                "transform": [{"filter": "datum.count > 0"}],
                "mark": {"type": "text", "fontSize": 13},
                "encoding": {"text": {"field": "count"}},
            },
        ],
    }


def _bar(name: str, series: str, median: float, p90: float) -> dict[str, Any]:
    return {
        "name": clean(name, _LABEL),
        "series": clean(series, _LABEL),
        "median": min(median, _LARGEST),
        "p90": min(p90, _LARGEST),
    }


def _by_device(cases: Sequence[Case]) -> list[dict[str, Any]]:
    errors: dict[str, list[float]] = {}
    for case in cases:
        if case.rule == PROBE and case.split is Split.DEVICE and case.quantity is Quantity.DECODE:
            errors.setdefault(case.observation.device, []).append(abs(case.error))
    found = []
    for device, mine in sorted(errors.items()):
        ordered = sorted(mine)
        last = len(ordered) - 1
        p90 = ordered[min(last, round(0.9 * last))]
        found.append(_bar(device, "decode", ordered[last // 2], p90))
    return found


def _by_rule(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        _bar(e.rule, words(e.quantity), e.median, e.p90)
        for e in evaluation.errors
        if e.split is Split.DEVICE and e.group == EVERYTHING and e.quantity in _SPEEDS
    ]


def _by_term(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        _bar(
            f"{a.runtime}: {f'without {a.term}' if a.term else 'all'}",
            words(a.quantity),
            a.median,
            a.p90,
        )
        for a in evaluation.ablations
    ]


def bars_chart(values: list[dict[str, Any]]) -> dict[str, Any]:
    """A bar for the median error of each name and series, with a line to the 90th percentile."""
    names = list(dict.fromkeys(value["name"] for value in values))
    series = list(dict.fromkeys(value["series"] for value in values))
    x = {
        "type": "quantitative",
        "title": f"error: median and 90th percentile ({_LARGEST:.0%} and more are drawn the same)",
        "axis": {"format": "%"},
    }
    y = {"field": "name", "type": "nominal", "sort": names, "title": None}
    offset = {"field": "series", "sort": series}
    colour = {
        "field": "series",
        "type": "nominal",
        "scale": {"domain": series, "range": list(COLOURS[: len(series)])},
    }
    return {
        "width": 440,
        "height": {"step": 12 if len(series) > 1 else 20},
        "data": {"values": values},
        "encoding": {"y": y, "yOffset": offset, "color": colour},
        "layer": [
            {"mark": {"type": "bar"}, "encoding": {"x": x | {"field": "median"}}},
            {
                "mark": {"type": "rule"},
                "encoding": {"x": x | {"field": "median"}, "x2": {"field": "p90"}},
            },
            {"mark": {"type": "tick", "thickness": 2}, "encoding": {"x": x | {"field": "p90"}}},
        ],
    }


def cost_chart(evaluation: Evaluation) -> dict[str, Any]:
    """The median error over the seconds it takes to know, on logarithmic axes."""
    values = [
        {
            "rule": cost.rule,
            "seconds": max(cost.seconds, _LEAST),
            "error": max(cost.median, _LEAST),
            "ours": cost.rule in {PROBE, FULL_LOAD},
        }
        for cost in evaluation.costs
    ]
    log = {"type": "log"}
    rules = [cost.rule for cost in evaluation.costs]
    return {
        "width": 440,
        "height": 260,
        "data": {"values": values},
        "encoding": {
            "x": {
                "field": "seconds",
                "type": "quantitative",
                "scale": log,
                "title": "seconds to know",
            },
            "y": {
                "field": "error",
                "type": "quantitative",
                "scale": log,
                "title": "median error of decode",
                "axis": {"format": "%"},
            },
            # By shape: some lie upon each other.
            "shape": {
                "field": "rule",
                "scale": {"domain": rules, "range": list(_SHAPES[: len(rules)])},
                "legend": {"columns": 3},
            },
            "color": {
                "condition": {"test": "datum.ours", "value": COLOURS[0]},
                "value": COLOURS[1],
            },
        },
        "mark": {"type": "point", "size": 90, "strokeWidth": 2.5, "opacity": 1},
    }
