"""The tables of a run's findings: claims held against measurements, and response times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.claims import Figure, Status
from results.response import Kept
from results.table import NOTHING, number, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.claims import Measured, Outcome
    from results.record import Interval
    from results.response import Response

_STATUS_STYLE: Final = {
    Status.CONFIRMED: "green",
    Status.REFUTED: "red",
    Status.NOT_MEASURABLE: "yellow",
}
_KEPT_STYLE: Final = {
    Kept.YES: "green",
    Kept.NO: "red",
    Kept.EITHER: "yellow",
    Kept.CANNOT: "yellow",
}
_UNITS: Final = {
    Figure.FILE: (1e9, "GB"),
    Figure.PEAK: (1e9, "GB"),
    Figure.DECODE: (1.0, "tok/s"),
    Figure.PREFILL: (1.0, "tok/s"),
}


def claims_table(outcomes: Sequence[Outcome]) -> Table:
    """A line a claim: the figures of both sides, and what came of it. Ranges are of all rounds."""
    shown = _table("claim", "figures", "outcome")
    for outcome in outcomes:
        place = f"{outcome.model} on {outcome.runtime}, {outcome.profile}"
        shown.add_row(
            Text(plain(outcome.text)).append(plain(f"\n{place}"), style="dim"),
            Text("\n".join(_side(s, outcome.figure) for s in (outcome.subject, outcome.baseline))),
            Text(str(outcome.status), style=_STATUS_STYLE[outcome.status]).append(
                plain(f"\n{outcome.explanation}"), style="dim"
            ),
        )
    return shown


def _side(side: Measured, figure: Figure) -> str:
    name = plain(f"{side.quantisation} {side.variant}".rstrip())
    if side.figure is None:
        return f"{name} {NOTHING}"
    factor, unit = _UNITS[figure]
    values = side.figure
    text = f"{name} {number(values.median / factor)} {unit}"
    if values.low == values.high:
        return text
    return f"{text} ({number(values.low / factor)} to {number(values.high / factor)})"


def response_table(responses: Sequence[Response]) -> Table:
    """A line a workload: seconds of a warm and of a cold answer, and whether they are in budget."""
    shown = _table("workload", "basis", "warm, s", "cold, s", "why")
    for response in responses:
        name = f"{response.model}/{response.quantisation} {response.variant}".rstrip()
        shown.add_row(
            Text(plain(name)).append(
                plain(f"\n{response.runtime}, {response.profile}"), style="dim"
            ),
            Text(f"{response.basis}\nn = {response.n}" if response.n else response.basis),
            _time(response.warm_seconds, response.warm),
            _time(response.cold_seconds, response.cold),
            Text(plain(response.explanation)),
        )
    return shown


def _time(seconds: Interval | None, kept: Kept) -> Text:
    figure = NOTHING
    if seconds is not None:
        figure = f"{number(seconds.expected)} ({number(seconds.low)} to {number(seconds.high)})"
    return Text(f"{figure}\n{kept}", style=_KEPT_STYLE[kept])


def _table(*headings: str) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    return shown
