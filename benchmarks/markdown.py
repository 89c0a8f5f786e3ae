"""Tables as README.md takes them, and figures as tables take them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table in Markdown.

    Args:
        heads: One a column.
        rows: As many cells each.
        left: How many columns, from the first on, are texts; all others are figures.
    """
    lines = [list(heads), ["---" if n < left else "---:" for n in range(len(heads))]]
    # A reason may hold a bar, which would be the end of its cell.
    lines += [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def significant(value: float, digits: int = 3) -> str:
    """A figure to so many digits, without an exponent: `0.0123`, `1.23`, `1234`."""
    if not value:
        return "0"
    whole = f"{value:.{digits - 1}e}"
    exponent = int(whole.partition("e")[2])
    return f"{float(whole):.{max(0, digits - 1 - exponent)}f}"


def ratio_of(pairs: Sequence[tuple[float, float]]) -> float | None:
    """The median of the ratios of pairs that were measured one after the other."""
    ratios = [first / second for first, second in pairs if second]
    return median(ratios) if ratios else None
