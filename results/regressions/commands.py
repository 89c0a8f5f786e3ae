"""`tierlab regressions`: what became worse, for people and for CI."""

from __future__ import annotations

import argparse
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from results.query import figures
from results.regressions.comparable import Dimension
from results.regressions.comparison import Change
from results.regressions.search import UnknownBaselineError, find_regressions
from results.regressions.table import print_regressions
from results.store import FILE_NAME, Store, StoreError
from results.table import plain

if TYPE_CHECKING:
    from results.regressions.search import Regressions

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

NONE, REGRESSED, USAGE, NOT_ENOUGH = 0, 1, 2, 3

_SHOWN_NAMES: Final = 8

_DESCRIPTION = """\
Compares stored trials that differ in one thing only, and names the first bad version.
A difference counts where its whole 95 % interval lies beyond the tolerance; "not enough
data" is an answer."""

_EXAMPLES = """\
examples:
  tierlab regressions --by browser                      every cell, version by version
  tierlab regressions --by runtime --runtime wllama/wasm
  tierlab regressions --by browser --baseline 156.0.8078.108 --tolerance 10
  tierlab regressions --by run --device desktop --strict
  tierlab regressions --by artifact --model gemma-2b --json

exit codes:
  0  nothing regressed
  1  something regressed
  2  the command cannot be carried out
  3  with --strict: nothing regressed as far as can be seen, but of some figure there is not
     enough data, or there is nothing to compare at all
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `regressions`, which sets `func`."""
    parser = subparsers.add_parser(
        "regressions",
        help="what became worse with a browser, runtime, artifact or run",
        description="Compares stored trials that differ in one thing only, and names the first bad"
        " version. A difference counts where its whole 95 % interval lies beyond the tolerance;"
        ' "not enough data" is an answer.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--by", choices=[str(by) for by in Dimension], required=True, help="what may differ")
    add(
        "--baseline",
        metavar="VERSION",
        help="measure by this version, and leave out older ones (default: the earliest of each"
        " series); of a run's id the beginning is enough",
    )
    add("--device", metavar="ID", help="of this device profile only")
    add("--model", metavar="ID", help="of this model only")
    add("--quant", metavar="NAME", help="of this quantisation only, by the engine's own name")
    add("--runtime", metavar="ID", help="of this runtime only")
    add("--since", type=_date, metavar="DATE", help="trials from that day on (UTC): 2026-05-31")
    add(
        "--tolerance",
        type=_percent,
        metavar="PERCENT",
        default=0.05,
        help="how large a difference is of no interest (default: 5)",
    )
    add("--strict", action="store_true", help="exit with 3 where there is not enough data")
    add("--all", action="store_true", help="show figures that stayed the same, too")
    add("--json", action="store_true", help="everything, as JSON")
    add("--results", type=Path, default=Path("tierlab-results"), metavar="DIR")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Compare, print, and give the exit code."""
    try:
        found = _find(options)
    except (StoreError, UnknownBaselineError) as error:
        text = _no_baseline(error) if isinstance(error, UnknownBaselineError) else str(error)
        Console(stderr=True).print(
            f"tierlab: {text}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        return USAGE
    if options.json:
        print(found.model_dump_json(indent=2))  # noqa: T201 - for programs, not for a terminal
    else:
        print_regressions(Console(), found, everything=options.all)
    return exit_code(found, strict=options.strict)


def exit_code(found: Regressions, *, strict: bool) -> int:
    """What a CI job is told."""
    if found.count(Change.REGRESSED):
        return REGRESSED
    if strict and (found.count(Change.UNDECIDED) or not found.series):
        return NOT_ENOUGH
    return NONE


def _find(options: argparse.Namespace) -> Regressions:
    if not (options.results / FILE_NAME).is_file():
        raise StoreError(
            f"{options.results}: there are no results here\n"
            "  -> run `tierlab run` first, or choose another --results"
        )
    with Store.open(options.results) as store:
        trials = figures(
            store,
            profile=options.device,
            model=options.model,
            quantisation=options.quant,
            runtime=options.runtime,
            since=options.since,
            of_device=True,
        )
        return find_regressions(
            trials, Dimension(options.by), baseline=options.baseline, tolerance=options.tolerance
        )


def _no_baseline(error: UnknownBaselineError) -> str:
    newest = error.known[-_SHOWN_NAMES:]
    known = f"known: {plain(', '.join(newest))}" if newest else "nothing that fits is stored"
    left = len(error.known) - len(newest)
    more = f", and {left} older" if left else ""
    return f"--baseline {error.baseline}: no trial has that version\n  -> {known}{more}"


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0, such as 5")
    return value / 100


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date such as 2026-05-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
