"""Charts of cells: which points they show, what they are called, and how they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.record import Kind, Verdict
from results.site.charts import (
    Axis,
    Dated,
    Forecast,
    Hit,
    Moment,
    Point,
    forecast_chart,
    hits_chart,
    lines_chart,
    trend_chart,
)
from results.site.trends import version_key
from results.site.view import DECODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from results.memory_curve import Sample
    from results.site.drawing import Draw
    from results.site.evidence import Proof
    from results.site.trends import VersionFigures
    from results.site.view import Metric, Row

_GIGABYTE: Final = 1e9
_PROCESSES: Final = ("renderer", "gpu", "engine", "browser")
_GROUP: Final = "whole group"
# Of a chart's width: marks that are closer would be written over each other.
_MARKS_APART: Final = 0.03
# Rows of one chart; a chart of hundreds would be higher than any screen.
_MOST_ROWS: Final = 40


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with its title and how it is read."""

    title: str
    svg: Markup
    caption: str


def forecast(draw: Draw, rows: Sequence[Row], names: Sequence[str], title: str) -> Figure | None:
    """Decode speeds of some cells beside what was predicted; `None` where nothing ran."""
    found = [
        Forecast(
            name=name,
            low=_positive(interval.low if interval else None),
            expected=_positive(interval.expected if interval else None),
            high=_positive(interval.high if interval else None),
            measured=_positive(row.measured(DECODE)),
        )
        for row, name in zip(rows, names, strict=True)
        if row.cell.verdict is Verdict.OK
        for interval in (row.predicted(DECODE),)
    ]
    shown = [line for line in found if line.measured is not None][:_MOST_ROWS]
    if not shown:
        return None
    left_out = len(found) - len(shown)
    rest = f" {left_out} further cells are in the table only." if left_out else ""
    return Figure(
        title=title,
        svg=draw(
            forecast_chart(shown, Axis("decode, tokens a second (logarithmic)", logarithmic=True)),
            title,
        ),
        caption="Bar: the predicted interval; stroke: the expected value; diamond: the measured"
        f" median.{rest}",
    )


def hits(draw: Draw, rows: Sequence[Row], metric: Metric, title: str) -> Figure | None:
    """Measured over predicted of one metric; `None` where no cell has both."""
    points = [
        Hit(
            series=row.runtime,
            expected=interval.expected / metric.scale,
            low=interval.low / metric.scale,
            high=interval.high / metric.scale,
            measured=value / metric.scale,
        )
        for row in rows
        if row.cell.verdict is Verdict.OK
        and (interval := row.predicted(metric))
        and (value := row.measured(metric)) is not None
        and min(interval.low, interval.expected, value) > 0
    ]
    if not points:
        return None
    return Figure(
        title=title,
        svg=draw(hits_chart(points, f"{metric.name}, {metric.unit}"), title),
        caption="On the dashed line prediction and measurement are the same. Lines to the left and"
        " right: the predicted interval.",
    )


def memory(draw: Draw, row: Row, proof: Proof, *, whose: str) -> Figure | None:
    """The memory curve of a cell's newest trial, with what happened when."""
    samples = proof.curve
    kinds = curve_kinds(samples)
    points = [
        Point(kind, sample.at_seconds, size / _GIGABYTE)
        for kind in kinds
        for sample in samples
        if (size := size_of(sample, kind)) is not None
    ]
    if not points:
        return None
    limit = row.device.memory_limit_bytes
    title = f"Memory of {whose}"
    return Figure(
        title=title,
        svg=draw(
            lines_chart(
                points,
                "seconds since the start of the trial",
                "resident memory, GB",
                limit=Moment(limit / _GIGABYTE, "memory limit") if limit else None,
                moments=_moments(proof, samples[-1].at_seconds),
            ),
            title,
        ),
        caption="The largest process of each kind"
        + (", and the whole limited group with its page cache" if _GROUP in kinds else "")
        + ". Dotted: when a phase of the load began, and what ended it.",
    )


def trend(
    draw: Draw, cells: Sequence[tuple[Row, Sequence[VersionFigures]]], *, whose: str
) -> Figure | None:
    """Decode speed of some cells by browser version; `None` where fewer than two have one."""
    browsers = {version.browser for _, versions in cells for version in versions}
    several = len(browsers) > 1
    in_order = sorted(
        ((row, version) for row, versions in cells for version in versions),
        key=lambda pair: (pair[1].browser, version_key(pair[1].browser_version)),
    )
    points = [
        Dated(
            series=f"{row.workload} {version.runtime_version}",
            version=f"{version.browser} {version.browser_version}"
            if several
            else version.browser_version,
            median=version.median,
            low=version.low,
            high=version.high,
        )
        for row, version in in_order
        if version.median is not None and version.low is not None and version.high is not None
    ]
    if len({point.version for point in points}) <= 1:
        return None
    title = f"Decode speed by browser version: {whose}"
    return Figure(
        title=title,
        svg=draw(trend_chart(points, "decode, tokens a second"), title),
        caption="Point: the median; line: from the lowest to the highest.",
    )


def curve_kinds(samples: Sequence[Sample]) -> list[str]:
    """The kinds of process a curve has, and the group where it has one."""
    kinds = [kind for kind in _PROCESSES if any(kind in sample.processes for sample in samples)]
    grouped = any(sample.group_bytes is not None for sample in samples)
    return [*kinds, _GROUP] if grouped else kinds


def size_of(sample: Sample, kind: str) -> int | None:
    """The bytes of that kind of process, or of the group."""
    return sample.group_bytes if kind == _GROUP else sample.processes.get(kind)


def _positive(value: float | None) -> float | None:
    """A logarithmic axis has no zero."""
    return value if value is not None and value > 0 else None


def _moments(proof: Proof, last: float) -> list[Moment]:
    """Phases and ends worth a mark, none so close to the one before that both cannot be read."""
    marks: list[Moment] = []
    for line in proof.lines:
        text = line.phase if line.kind == Kind.PHASE else line.kind if line.is_end else ""
        if not text or not 0 <= line.at_seconds <= last:
            continue
        if marks and line.at_seconds - marks[-1].x < _MARKS_APART * last:
            if not line.is_end:
                continue
            marks.pop()
        marks.append(Moment(line.at_seconds, text))
    return marks
