"""How far the spec-sheet model is off what was published: row by row, and by engine.

Each row is predicted by factors that its device had no part in: the error of a device that was
never seen is what a user of a profile gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from harness.spec_sheet.figures import figures_text, read_figures
from harness.spec_sheet.fit import (
    device_of,
    errors,
    left_out,
    middle,
    model_of,
    usable,
    within,
)
from harness.spec_sheet.model import QUANTITIES
from results.table import NOTHING, number, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from harness.profiles import Profile
    from harness.spec_sheet.figures import Row
    from harness.spec_sheet.model import SheetQuantity

_UNITS: Final[Mapping[SheetQuantity, tuple[str, float]]] = {
    "decode": ("tok/s", 1), "prefill": ("tok/s", 1), "memory": ("GB", 1e-9),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure beside its prediction, in tokens a second or bytes; None: not computed."""

    row: Row
    quantity: SheetQuantity
    published: float
    predicted: float | None
    reason: str | None

    @property
    def error(self) -> float | None:
        """Predicted over published, less 1."""
        return None if self.predicted is None else self.predicted / self.published - 1


def compare(rows: Sequence[Row]) -> list[Compared]:
    """Every published figure, predicted with its device left out where it can be."""
    ratios: dict[tuple[int, SheetQuantity], float] = {}
    for quantity in QUANTITIES:
        for family in sorted({row.family for row in rows if row.family}):
            found = left_out(rows, family, quantity, device_of)
            ratios.update({(line, quantity): ratio for line, ratio in found.items()})
    compared = []
    for row in rows:
        for quantity, published in row.measured.items():
            ratio = ratios.get((row.line, quantity))
            predicted = None
            if ratio is not None:
                times = ratio if quantity == "memory" else 1 / ratio
                predicted = times * published
            reason = None
            if predicted is None:
                reason = row.why_not(quantity) or "no figures of another device are left to go by"
            compared.append(Compared(row, quantity, published, predicted, reason))
    return compared


def rows_table(compared: Sequence[Compared]) -> Table:
    """A line a row: published and predicted, and below them by how much the latter is off."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("line", justify="right")
    shown.add_column("device, engine and model", overflow="fold")
    for quantity in QUANTITIES:
        shown.add_column(f"{quantity}\n{_UNITS[quantity][0]}", justify="right", no_wrap=True)
    cells: dict[int, dict[SheetQuantity, Compared]] = {}
    for each in compared:
        if each.predicted is not None:
            cells.setdefault(each.row.line, {})[each.quantity] = each
    for line, found in cells.items():
        row = next(iter(found.values())).row
        shown.add_row(
            str(line),
            Text(plain(f"{device_of(row)}, {row.engine}, {row.model} {row.quant}")),
            *(_cell(found.get(quantity)) for quantity in QUANTITIES),
        )
    return shown


def _cell(each: Compared | None) -> str:
    if each is None or each.predicted is None or each.error is None:
        return NOTHING
    scale = _UNITS[each.quantity][1]
    pair = f"{number(scale * each.published)} : {number(scale * each.predicted)}"
    return f"{pair}\n{each.error:+.0%}"


def summary(rows: Sequence[Row]) -> Table:
    """By engine and quantity: how many figures, and errors with the device or model left out."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("engine", "quantity"):
        shown.add_column(heading)
    for heading in (
        "n",
        "devices",
        "device left out\nmedian / p90",
        "model left out\nmedian / p90",
    ):
        shown.add_column(heading, justify="right", no_wrap=True)
    for family in sorted({row.family for row in rows if row.family}):
        for quantity in QUANTITIES:
            mine = usable(within(rows, family), quantity)
            if not mine:
                continue
            shown.add_row(
                family,
                quantity,
                str(len(mine)),
                str(len({device_of(row) for row in mine})),
                _percent(
                    middle(errors(left_out(rows, family, quantity, device_of).values(), quantity))
                ),
                _percent(
                    middle(errors(left_out(rows, family, quantity, model_of).values(), quantity))
                ),
            )
    return shown


def _percent(values: tuple[float, float] | None) -> str:
    return "-" if values is None else f"{values[0]:.0%} / {values[1]:.0%}"


def not_computed(compared: Sequence[Compared], rows: Sequence[Row]) -> list[str]:
    """One line a row of which something could not be computed, with the reason."""
    lines = []
    for row in rows:
        mine = [each for each in compared if each.row is row and each.reason]
        for reason in dict.fromkeys(str(each.reason) for each in mine):
            what = ", ".join(each.quantity for each in mine if each.reason == reason)
            lines.append(
                f"line {row.line}: {row.device}, {row.engine}, {row.model}: {what}: {reason}"
            )
        if not row.measured:
            lines.append(
                f"line {row.line}: {row.device}, {row.engine}, {row.model}: no speed is given"
            )
    return [plain(line) for line in lines]


def print_check(console: Console, profiles: Mapping[str, Profile]) -> None:
    """Everything: errors by row, the summary, and what could not be computed."""
    rows = read_figures(figures_text(), profiles)
    compared = compare(rows)
    console.print("published : predicted by factors without that device", highlight=False)
    console.print(rows_table(compared))
    console.print("\nby engine:")
    console.print(summary(rows))
    left = not_computed(compared, rows)
    console.print(f"\n{len(left)} not computed:" if left else "", highlight=False)
    for line in left:
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def as_json(profiles: Mapping[str, Profile]) -> list[dict[str, object]]:
    """The same as data: one object a figure."""
    rows = read_figures(figures_text(), profiles)
    return [
        {
            "line": each.row.line,
            "source": each.row.source,
            "device": device_of(each.row),
            "engine": each.row.engine,
            "model": each.row.model,
            "quantisation": each.row.quant,
            "quantity": each.quantity,
            "published": each.published,
            "predicted": each.predicted,
            "error": each.error,
            "reason": each.reason,
        }
        for each in compare(rows)
    ]
