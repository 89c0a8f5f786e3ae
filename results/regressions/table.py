"""Comparisons as tables: of `tierlab regressions`, and of A and B in one run. 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.regressions.comparable import Dimension
from results.regressions.comparison import VERDICT, Change
from results.table import NOTHING, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from results.regressions.ab import AbOutcome
    from results.regressions.comparison import Comparison
    from results.regressions.search import Regressions, Series, Trend

CHANGE_STYLE: Final = {
    Change.REGRESSED: "red",
    Change.IMPROVED: "green",
    Change.SAME: "dim",
    Change.UNDECIDED: "yellow",
}
NAMES: Final = {
    VERDICT: "verdict",
    "load_seconds": "load time",
    "first_token_seconds": "first token",
    "prefill_tokens_per_s": "prefill speed",
    "decode_tokens_per_s": "decode speed",
    "peak_bytes": "peak memory",
}
# Enough of a run's id to tell it from the others.
_RUN_CHARACTERS: Final = 8


def print_regressions(console: Console, found: Regressions, *, everything: bool = False) -> None:
    """Print every series with a figure that is not the same, then what the others are.

    Args:
        console: where to.
        found: what was compared.
        everything: whether figures that are the same have a line, too.
    """
    for series in found.series:
        shown = [t for t in series.trends if everything or t.change is not Change.SAME]
        if not shown:
            continue
        _say(console, _title(series), style="bold")
        console.print(_trends(shown, found.by))
        for line in _explanations(shown, series, found.by):
            _say(console, f"-> {line}")
        console.print()
    _say(console, _summary(found))


def print_ab(console: Console, outcome: AbOutcome) -> None:
    """Print what came of A and B in one run."""
    _say(console, f"{outcome.workload}, {outcome.profile}", style="bold")
    _say(console, f"A: {outcome.a}")
    _say(console, f"B: {outcome.b}")
    table = _table("figure", "B / A", "interval", "n", "outcome of B")
    for comparison in outcome.comparisons:
        table.add_row(
            NAMES[comparison.figure], *_numbers(comparison), _outcome(comparison, comparison.change)
        )
    console.print(table)
    _say(console, _basis(outcome))


def said(comparison: Comparison) -> str:
    """A comparison in words, with what it rests on."""
    name = NAMES[comparison.figure]
    if comparison.ratio is None:
        return plain(f"{name}: {comparison.change} ({comparison.explanation})")
    ratio, interval, _ = _numbers(comparison)
    return f"{name}: {comparison.change}, {ratio} times ({interval}, n = {comparison.n})"


def _basis(outcome: AbOutcome) -> str:
    trials = 2 * outcome.rounds
    busy = f"; the host was not at rest in {outcome.not_at_rest} of {trials} trials"
    return (
        f"{outcome.rounds} rounds in turns{busy if outcome.not_at_rest else ''}\n"
        f"of no interest: {_percent(outcome.tolerance)} either way;"
        " intervals hold the ratio 95 times in 100"
    )


def _title(series: Series) -> str:
    weights = f"{series.model}/{series.quantisation} {series.variant}".rstrip()
    source = "" if series.source == "network" else f" from {series.source}"
    lengths = f"{series.prompt_tokens}+{series.output_tokens} tokens"
    limited = " (limited)" if series.limited else ""
    hardware = f" ({series.hardware})" if series.hardware else ""
    return f"{weights} on {series.runtime}{source}, {lengths}\n{series.profile}{limited}{hardware}"


def _trends(trends: list[Trend], by: Dimension) -> Table:
    table = _table("figure", "versions", "ratio", "interval", "n", "outcome")
    table.columns[1].max_width = 20
    for trend in trends:
        step = trend.telling
        names = f"{_name(step.against, by)}\n{_name(step.version, by)}"
        table.add_row(
            NAMES[trend.figure],
            Text(names),
            *_numbers(step.comparison),
            _outcome(step.comparison, trend.change),
        )
    return table


def _numbers(comparison: Comparison) -> tuple[str, str, str]:
    """Ratio, interval, and the numbers of both."""
    sizes = f"{comparison.baseline_n}+{comparison.n}"
    if comparison.ratio is None:
        return NOTHING, NOTHING, sizes
    interval = NOTHING
    if comparison.low is not None and comparison.high is not None:
        interval = f"{_factor(comparison.low)} to {_factor(comparison.high)}"
    return _factor(comparison.ratio), interval, sizes


def _factor(value: float) -> str:
    """Three decimals of a ratio near one, where differences of a hundredth matter."""
    return f"{value:.3f}" if 0.1 <= value < 10 else f"{value:.3g}"  # noqa: PLR2004


def _outcome(comparison: Comparison, change: Change) -> Text:
    shown = Text(str(change), style=CHANGE_STYLE[change])
    why = comparison.explanation
    if why and (change is Change.UNDECIDED or comparison.figure == VERDICT):
        shown.append(f"\n{plain(why)}", style="dim")
    return shown


def _explanations(trends: list[Trend], series: Series, by: Dimension) -> Iterator[str]:
    """What a table has no room for: where a regression began, and how sure that is."""
    begun: dict[str, list[str]] = {}
    for trend in trends:
        if trend.first_bad is not None:
            begun.setdefault(_beginning(trend, by), []).append(NAMES[trend.figure])
    for beginning, names in begun.items():
        yield f"{', '.join(names)}: {beginning}"
    for change in dict.fromkeys(change for trend in trends for change in trend.changed):
        yield f"changed as well: {change}"
    busy = sum(group.not_at_rest for group in series.groups)
    if busy:
        trials = sum(group.n for group in series.groups)
        yield f"something else kept the host busy during {busy} of the {trials} trials"


def _beginning(trend: Trend, by: Dimension) -> str:
    """From which version on a figure is worse, and which versions between leave that open."""
    gaps = [
        f"; {word} between: {', '.join(_name(name, by) for name in names)}"
        for word, names in (("undecided", trend.undecided), ("untested", trend.untested))
        if names
    ]
    good, bad = _name(trend.last_good, by), _name(trend.first_bad or "", by)
    return f"first bad {bad}, last good {good}{''.join(gaps)}"


def _name(version: str, by: Dimension) -> str:
    """A version as it is shown; of a run, the beginning of its id and what it tested."""
    if by is Dimension.RUN:
        run_id, blank, rest = version.partition(" ")
        version = run_id[:_RUN_CHARACTERS] + blank + rest
    return plain(version)


def _summary(found: Regressions) -> str:
    alone = f"; {found.alone} have nothing to be compared with" if found.alone else ""
    if not found.series:
        return f"nothing to compare by {found.by}{alone}"
    since = f" from {found.baseline} on" if found.baseline else ""
    counts = ", ".join(f"{found.count(change)} {change}" for change in Change)
    return (
        f"{len(found.series)} series compared by {found.by}{since}{alone}\n"
        f"figures: {counts} (of no interest: {_percent(found.tolerance)} either way)"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        right = heading in {"ratio", "B / A", "n"}
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    return table


def _say(console: Console, text: str, style: str | None = None) -> None:
    """Lines of text that may hold what a device said."""
    for line in text.split("\n"):
        console.print(plain(line), style=style, markup=False, highlight=False, soft_wrap=True)
