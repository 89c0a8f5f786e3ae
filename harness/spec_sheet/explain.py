"""A prediction taken apart: one table a quantity, and feasibility step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.observation import Quantity
from results.table import NOTHING, gigabytes, number, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console, RenderableType

    from harness.spec_sheet.foresight import Foresight, Outcome
    from results.record import Interval, Prediction, Term

_TITLES: Final[Mapping[Quantity, str]] = {
    Quantity.LOAD: "load",
    Quantity.FIRST_TOKEN: "first token",
    Quantity.PREFILL: "prefill, of the whole prompt",
    Quantity.DECODE: "decode, of a token",
    Quantity.MEMORY: "peak memory",
}
_TWO_DIGITS: Final = 10
_STYLES: Final[Mapping[Outcome, str]] = {"ok": "green", "no": "red", "unknown": "yellow"}


def interval_of(prediction: Prediction, quantity: Quantity) -> Interval | None:
    """What was predicted of a quantity, in the unit that users know."""
    return {
        Quantity.LOAD: prediction.load_seconds,
        Quantity.FIRST_TOKEN: prediction.first_token_seconds,
        Quantity.PREFILL: prediction.prefill_tokens_per_s,
        Quantity.DECODE: prediction.decode_tokens_per_s,
        Quantity.MEMORY: prediction.peak_memory_bytes,
    }[quantity]


def in_words(interval: Interval | None, quantity: Quantity) -> str:
    """`12.3 tok/s, 9 times in 10 from 8.1 to 20`."""
    if interval is None:
        return "unknown"
    if quantity is Quantity.MEMORY:
        low, expected, high = map(gigabytes, (interval.low, interval.expected, interval.high))
        unit = "GB"
    else:
        low, expected, high = map(number, (interval.low, interval.expected, interval.high))
        unit = "tok/s" if quantity in {Quantity.PREFILL, Quantity.DECODE} else "s"
    return f"{expected} {unit}, 9 times in 10 from {low} to {high}"


def short(interval: Interval | None, quantity: Quantity) -> str:
    """`12.3` above `8.1-20` for a cell; a dash where it is not known."""
    if interval is None:
        return NOTHING
    if quantity is Quantity.MEMORY:
        bounds = f"{interval.low / 1e9:.1f}-{interval.high / 1e9:.1f}"
        return f"{gigabytes(interval.expected)}\n{bounds}"
    return f"{number(interval.expected)}\n{_two(interval.low)}-{_two(interval.high)}"


def _two(value: float) -> str:
    """Two significant digits, as a bound deserves; whole from 10 on."""
    if value < _TWO_DIGITS:
        return f"{value:.2g}"
    return f"{float(f'{value:.2g}'):.0f}"


def terms_table(terms: Mapping[str, Term], quantity: Quantity) -> Table:
    """A line a term: base, factor, what it comes to, and its share of the sum."""
    memory = quantity is Quantity.MEMORY
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("term")
    unit = "GB" if memory else "s"
    for heading in (f"base {unit}", "factor", unit, "share"):
        shown.add_column(heading, justify="right", no_wrap=True)
    scale = 1e-9 if memory else 1.0
    whole = sum(term.base * term.factor for term in terms.values())
    for name, term in terms.items():
        amount = term.base * term.factor
        shown.add_row(
            Text(plain(name)),
            f"{scale * term.base:.4g}",
            f"{term.factor:.4g}",
            f"{scale * amount:.4g}",
            f"{amount / whole:.0%}" if whole > 0 else "-",
        )
    shown.add_section()
    shown.add_row("sum", "", "", f"{scale * whole:.4g}", "")
    return shown


def explain(console: Console, told: Foresight, default: str) -> None:
    """Print a prediction with everything that it adds up from.

    Args:
        console: where to.
        told: the prediction.
        default: where factors are from that `told` does not say it of.
    """
    prediction = told.prediction
    _line(console, f"{told.runtime}, {told.quantisation}: {prediction.verdict}", style="bold")
    _line(console, "feasibility: structure first, then memory")
    for count, step in enumerate(told.steps, start=1):
        mark = Text(f"{step.outcome:8}", _STYLES[step.outcome])
        console.print(
            Text(f"  {count}. "), mark, Text(f"{step.name}: {plain(step.detail)}"),
            sep="", soft_wrap=True,
        )  # fmt: skip
    for quantity in Quantity:
        terms = prediction.terms.get(str(quantity), {})
        interval = interval_of(prediction, quantity)
        reason = told.unknown.get(quantity)
        if interval is None and not terms and reason is None:
            continue
        console.print()
        if interval is None and reason:
            _line(console, f"{_TITLES[quantity]}: unknown: {reason}")
            continue
        _line(console, f"{_TITLES[quantity]}: {in_words(interval, quantity)}")
        if terms:
            console.print(_table(terms, quantity))
        _line(console, f"factors: {told.factors.get(quantity, default)}", style="dim")


def _table(terms: Mapping[str, Term], quantity: Quantity) -> RenderableType:
    return terms_table(terms, quantity)


def _line(console: Console, text: str, *, style: str = "") -> None:
    console.print(plain(text), style=style, markup=False, highlight=False, soft_wrap=True)
