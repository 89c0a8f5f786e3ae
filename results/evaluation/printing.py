"""An evaluation at the terminal, and as Markdown between markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from results.errors import StoreError
from results.evaluation.layout import lines, sheets, summary
from results.files import replaced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from rich.console import Console

    from results.evaluation.figures import Evaluation
    from results.evaluation.layout import Sheet

START: Final = "<!-- accuracy: written by tierlab accuracy -->"
END: Final = "<!-- accuracy: end -->"


def print_evaluation(
    console: Console, evaluation: Evaluation, groups: Callable[[str], bool]
) -> None:
    """All tables; each fits 100 columns."""
    for line in summary(evaluation):
        console.print(line, markup=False, highlight=False)
    for sheet in sheets(evaluation, groups):
        console.print()
        console.print(_table(sheet))
        for note in sheet.notes:
            console.print(f"- {note}", markup=False, highlight=False, style="dim")


def _table(sheet: Sheet) -> Table:
    shown = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(sheet.title, style="bold"),
        title_justify="left",
    )
    for place, heading in enumerate(sheet.headings):
        right = place >= sheet.words
        shown.add_column(
            Text(heading), justify="right" if right else "left", no_wrap=right, overflow="fold"
        )
    for row in sheet.rows:
        shown.add_row(*(Text(cell, style="bold red" if cell == "NO" else "") for cell in row))
    return shown


def markdown(
    evaluation: Evaluation, groups: Callable[[str], bool], pictures: Sequence[tuple[str, str]] = ()
) -> str:
    """All tables as Markdown; pictures as title and address."""
    shown = [f"![{title}]({address})" for title, address in pictures]
    parts = [*summary(evaluation), "", *lines(sheets(evaluation, groups))]
    for picture in shown:
        parts += [picture, ""]
    return "\n".join(parts).rstrip() + "\n"


def write_markdown(path: Path, text: str) -> None:
    """Put the text between the markers of a file, or into a new file.

    Raises:
        StoreError: the file is there without the markers, or cannot be written.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else f"{START}\n{END}\n"
        before, found, rest = old.partition(START)
        _, ended, after = rest.partition(END)
        if not found or not ended:
            raise StoreError(
                f"{path} has no place for the figures\n  -> put the lines {START} and {END} into it"
            )
        with replaced(path) as file:
            file.write(f"{before}{START}\n\n{text}\n{END}{after}".encode())
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be written: {error}") from error
