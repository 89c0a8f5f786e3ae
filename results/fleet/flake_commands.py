"""`tierlab runs flakes`: how often devices and suites fail by the lab's fault, or differ."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.errors import StoreError
from results.fleet.flakes import LEAST, flake_rates
from results.store import FILE_NAME, Store
from results.table import NOTHING, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.fleet.flakes import Tries

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLES: Final = """examples:
  tierlab runs flakes                    of the runs of the last 30 days
  tierlab runs flakes --days 7

A try is flaky that ended by a fault of the lab, or otherwise than the try before of the same trial
or test in the same run. What is incomplete is no try, and is counted apart."""


def add_parser(actions: Subparsers) -> None:
    """Add `flakes`; it sets `func`, which returns an exit code."""
    parser = actions.add_parser(
        "flakes",
        help="how flaky devices and suites are",
        description="How flaky devices and suites are.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--days", type=_days, default=30, metavar="N",
        help="runs that began in the last N days (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--results", type=Path, default=Path("tierlab-results"), metavar="DIR")
    parser.set_defaults(func=_flakes)


def _flakes(options: argparse.Namespace) -> int:
    if not (options.results / FILE_NAME).is_file():
        raise StoreError(
            f"{options.results}: there are no results here\n"
            "  -> run `tierlab run` first, or choose another --results"
        )
    with Store.open(options.results) as store:
        rates = flake_rates(store, since=datetime.now(UTC) - timedelta(days=options.days))
    console = Console()
    for heading, tries in (("device", rates.devices), ("suite", rates.suites)):
        if tries:
            console.print(flakes_table(heading, tries))
    if not rates.devices and not rates.suites:
        console.print(f"no tries in the last {options.days} days", highlight=False)
    return 0


def flakes_table(heading: str, tries: Mapping[str, Tries]) -> Table:
    """A line each: n, what was flaky, and the rate where there are enough tries for one."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column(heading, overflow="fold")
    for name in (
        "tries\nn",
        "faults of\nthe lab",
        "changed",
        f"flaky\n(n >= {LEAST})",
        "incomplete",
    ):
        shown.add_column(name, justify="right", no_wrap=True)
    for name, one in tries.items():
        rate = NOTHING if one.rate is None else f"{one.rate:.0%}"
        counts = (one.tries, one.lab_faults, one.changed)
        shown.add_row(Text(plain(name)), *map(str, counts), rate, str(one.incomplete))
    return shown


def _days(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"{text} is no number of days from 1 to 9999")
    return int(text)
