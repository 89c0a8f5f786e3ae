"""`tierlab matrix`: from the stored trials to something worth publishing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from results.errors import StoreError
from results.matrix.build import DEFAULT_EXPIRY_DAYS
from results.matrix.make import FOLDER, make_matrix, publish, write_markdown
from results.site import SiteError

if TYPE_CHECKING:
    from results.matrix.make import Made

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_LONGEST_EXPIRY: Final = 36_500

_EXAMPLES = """examples:
  tierlab matrix                                     tierlab-results/matrix, with a website
  tierlab matrix --publish /var/www/matrix           and replace what is published there
  tierlab matrix --no-site --markdown MATRIX.md      data, and a table for a repository
  tierlab matrix --results merged --expiry-days 30   of another results folder, sooner out of date

what is written:
  matrix.json        the matrix; matrix.schema.json describes it
  matrix.md          the same for people, in Markdown
  evidence/          what was seen in the newest trial of each cell, and its memory curve
  badges/            small pictures for READMEs
  site/index.html    the website; it works from a disk and loads nothing from outside"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `matrix`; it sets `func`, which returns an exit code."""
    matrix = subparsers.add_parser(
        "matrix",
        help="write the compatibility matrix and its website",
        description="Writes which device runs which model, from the newest trials of each cell. "
        "Prints the address of the first page.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    matrix.add_argument(
        "--results",
        type=Path,
        default=Path("tierlab-results"),
        metavar="DIR",
        help="the results folder (default: %(default)s)",
    )
    matrix.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help=f"where to write; an earlier matrix is replaced (default: {FOLDER}/ in --results)",
    )
    matrix.add_argument(
        "--publish",
        type=Path,
        metavar="DIR",
        help="also replace this folder, at one moment: readers find the old matrix or the new one",
    )
    matrix.add_argument(
        "--expiry-days",
        type=_days,
        default=DEFAULT_EXPIRY_DAYS,
        metavar="N",
        help="so long figures count as up to date (default: %(default)s)",
    )
    matrix.add_argument("--no-site", action="store_true", help="no website: data and Markdown only")
    matrix.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="also write the Markdown here; with --publish its links lead there",
    )
    matrix.set_defaults(func=_matrix)


def _days(word: str) -> int:
    days = int(word) if word.isdecimal() else 0
    if not 1 <= days <= _LONGEST_EXPIRY:
        raise argparse.ArgumentTypeError(f"{word!r} is no number of days from 1 to 36500")
    return days


def _matrix(options: argparse.Namespace) -> int:
    console = Console(stderr=True)
    made = _make(options, console)
    for line in (made.words, made.warning):
        if line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    if options.publish:
        publish(made, options.publish)
        console.print(
            f"published in {options.publish}", markup=False, highlight=False, soft_wrap=True
        )
    if options.markdown:
        write_markdown(made, options.markdown, options.publish)
    print(made.address)  # noqa: T201 - alone on the standard output, for scripts
    return 0


def _make(options: argparse.Namespace, console: Console) -> Made:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=console,
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None)
        try:
            made = make_matrix(
                options.results,
                options.output or options.results / FOLDER,
                site=not options.no_site,
                expiry_days=options.expiry_days,
                say=lambda text: bar.update(task, description=text),
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        except SiteError as error:
            raise SiteError(f"{error}\n  -> or leave the website out with --no-site") from error
    if made is None:
        raise StoreError(
            f"{options.results}: no trial is stored here\n  -> run `tierlab run` first"
        )
    return made
