"""`tierlab outbox list | send | retry | drop`: what still has to reach InfluxDB."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from results.influx import outbox
from results.influx.client import Influx
from results.influx.delivery import Progress as Sent
from results.influx.delivery import Sender, outbox_gauge, record_lines, send_command, summary
from results.influx.settings import URL, MisconfiguredError, read_settings
from results.store import FILE_NAME, Store, StoreError
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.influx.settings import InfluxSettings

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

DELIVERED, WAITS, INTERRUPTED = 0, 1, 130

DEFAULT_PATIENCE_SECONDS: Final = 60.0

_SHOWN_RUNS: Final = 10
_SHOWN_LINES: Final = 20
_SHOWN_OF_A_LINE: Final = 200

_EXAMPLES: Final = """\
examples:
  tierlab outbox list                      what waits, and which lines were refused and why
  tierlab outbox send --influx http://localhost:8086 --influx-org lab
  tierlab outbox send --wait 3600          keep trying for an hour while nothing answers
  tierlab outbox retry 3 4                 let two refused lines wait for another try
  tierlab outbox drop 3                    forget one
  tierlab outbox drop --yes                forget all that were refused

The address, the organisation and the bucket may be in TIERLAB_INFLUX_URL, TIERLAB_INFLUX_ORG and
TIERLAB_INFLUX_BUCKET. The token is read from TIERLAB_INFLUX_TOKEN, or from the file that
TIERLAB_INFLUX_TOKEN_FILE names and that only you can read.
"""

_ONE_LINE: Final[dict[str, Any]] = {"markup": False, "highlight": False, "soft_wrap": True}


class OutboxUsageError(StoreError):
    """What was asked of the outbox cannot be done; the message says why."""


def add_commands(subparsers: Subparsers) -> None:
    """Add `outbox` and its four commands; each sets `func`, which returns an exit code."""
    parser = subparsers.add_parser(
        "outbox",
        help="what still has to be sent to InfluxDB",
        description="Records wait in the results folder until InfluxDB took them. Lines that it"
        " refuses are kept aside with the reason.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="what waits since when, and what was refused and why")
    listing.add_argument("--all", action="store_true", help="every refused line, in full")
    listing.set_defaults(func=_list)

    send = actions.add_parser(
        "send",
        help="send now; exit code 1 where something still waits",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_influx_options(send)
    send.add_argument(
        "--wait",
        type=float,
        default=DEFAULT_PATIENCE_SECONDS,
        metavar="SECONDS",
        help="keep trying for so long while nothing answers (default: %(default)g)",
    )
    send.set_defaults(func=_send)

    retry = actions.add_parser("retry", help="let refused lines wait for another try")
    retry.add_argument("number", nargs="*", type=int, help="as `list` shows them; default: all")
    retry.set_defaults(func=_retry)

    drop = actions.add_parser("drop", help="forget refused lines")
    drop.add_argument("number", nargs="*", type=int, help="as `list` shows them")
    drop.add_argument("--yes", action="store_true", help="all of them")
    drop.set_defaults(func=_drop)

    for command in (listing, send, retry, drop):
        command.add_argument(
            "--results", type=Path, default=Path("tierlab-results"), metavar="DIR",
            help="the results folder (default: %(default)s)",
        )  # fmt: skip


def add_influx_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name an InfluxDB."""
    parser.add_argument("--influx", metavar="URL", help="such as http://localhost:8086")
    parser.add_argument("--influx-org", metavar="NAME", help="not needed for InfluxDB 3")
    parser.add_argument("--influx-bucket", metavar="NAME", help="default: tierlab")


def _open(results: Path) -> Store:
    if not (results / FILE_NAME).is_file():
        raise StoreError(
            f"{results}: there are no results here\n"
            "  -> run `tierlab run` first, or choose another --results"
        )
    return Store.open(results)


# ---- list ----


def _list(options: argparse.Namespace) -> int:
    console = Console()
    with _open(options.results) as store:
        counts = outbox.count(store)
        lines = [line for line in outbox.parked(store) if line.reason]
        runs = outbox.waiting_runs(store)
    if counts.oldest is None:
        console.print("no record waits", **_ONE_LINE)
    else:
        waiting = "1 record waits" if counts.waiting == 1 else f"{counts.waiting} records wait"
        console.print(f"{waiting}, the first since {counts.oldest:%F %R %Z}:", **_ONE_LINE)
        _print_runs(console, runs)
    if counts.put_back:
        verb = "waits" if counts.put_back == 1 else "wait"
        console.print(f"{_lines(counts.put_back)} {verb} for another try", **_ONE_LINE)
    if lines:
        verb = "was" if len(lines) == 1 else "were"
        console.print(f"{_lines(len(lines))} {verb} refused:", **_ONE_LINE)
        _print_parked(console, lines, in_full=options.all)
    return 0


def _print_runs(console: Console, runs: Sequence[outbox.WaitingRun]) -> None:
    for run in runs[:_SHOWN_RUNS]:
        words = f"  {run.records} of run {run.run_id} of {run.oldest:%F %R %Z}"
        console.print(plain(words), **_ONE_LINE)
    if len(runs) > _SHOWN_RUNS:
        console.print(f"  and of {len(runs) - _SHOWN_RUNS} later runs", **_ONE_LINE)


def _print_parked(console: Console, lines: Sequence[outbox.Parked], *, in_full: bool) -> None:
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("", justify="right")
    shown.add_column("since", no_wrap=True)
    shown.add_column("reason, and the line", overflow="fold")
    for line in lines if in_full else lines[:_SHOWN_LINES]:
        text = plain(line.line)
        if not in_full and len(text) > _SHOWN_OF_A_LINE:
            text = f"{text[:_SHOWN_OF_A_LINE]}..."
        shown.add_row(
            str(line.number), f"{line.parked_at:%F %R}", Text(f"{plain(line.reason)}\n{text}")
        )
    console.print(shown)
    if not in_full and len(lines) > _SHOWN_LINES:
        more = len(lines) - _SHOWN_LINES
        console.print(f"and {more} more; all of them: tierlab outbox list --all", **_ONE_LINE)


# ---- send ----


def _send(options: argparse.Namespace) -> int:
    settings = read_settings(
        os.environ,
        url=options.influx,
        org=options.influx_org,
        bucket=options.influx_bucket,
    )
    if settings is None:
        raise MisconfiguredError(
            "no InfluxDB is named", f"give --influx http://HOST:PORT, or set {URL}"
        )
    with _open(options.results) as store, Influx(settings) as influx:
        return _deliver(store, influx, settings, options.wait)


def _deliver(store: Store, influx: Influx, settings: InfluxSettings, patience: float) -> int:
    shown = _Shown(Console(stderr=True), outbox.count(store).unsent, patience)
    sender = Sender(
        store, influx, record_lines(), pause=shown.pause, rest=shown.sent, gauge=outbox_gauge
    )
    shown.progress = sender.progress
    code, why, next_step = DELIVERED, None, ""
    try:
        with shown.bar:
            sender.send()
    except MisconfiguredError as error:
        why, next_step = error.problem, error.next_step
    except KeyboardInterrupt:
        code, why = INTERRUPTED, "interrupted"
    counts = outbox.count(store)
    go_on = send_command(store.path.parent, settings)
    console = Console()
    console.print(summary(sender.progress, counts, why, go_on), **_ONE_LINE)
    if next_step:
        console.print(f"  -> {next_step}", **_ONE_LINE)
    return code or (WAITS if counts.unsent or next_step else DELIVERED)


class _Shown:
    """The progress of a sender: a bar on a terminal; elsewhere only what goes wrong."""

    def __init__(self, console: Console, waiting: int, patience: float) -> None:
        self.progress = Sent()
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self.bar.add_task("sending", total=waiting)
        self._console = console
        self._patience = patience
        self._told: str | None = None

    def sent(self, _: float) -> bool:
        """Show how many records left; always goes on."""
        self.bar.update(self._task, description="sending", completed=self.progress.records)
        return True

    def pause(self, seconds: float, *, asked: bool, failing_seconds: float) -> bool:
        """Show what is wrong and wait, unless that would be longer than anybody wants to."""
        del asked
        if failing_seconds + seconds > self._patience:
            return False
        problem = plain(self.progress.problem or "")
        self.bar.update(self._task, description=f"{problem}; next try in {seconds:.0f} s")
        if self.bar.disable and problem != self._told:
            self._console.print(f"{problem}; trying again", **_ONE_LINE)
            self._told = problem
        time.sleep(seconds)
        return True


# ---- retry, drop ----


def _retry(options: argparse.Namespace) -> int:
    with _open(options.results) as store:
        _check_numbers(store, options.number)
        lines = outbox.put_back(store, options.number or None)
    next_step = "; send them with: tierlab outbox send" if lines else ""
    Console().print(f"{_lines(lines)} put back{next_step}", **_ONE_LINE)
    return 0


def _drop(options: argparse.Namespace) -> int:
    if bool(options.number) == options.yes:
        raise OutboxUsageError(
            "name the lines to forget by their numbers, or give --yes for all of them\n"
            "  -> `tierlab outbox list` shows them"
        )
    with _open(options.results) as store:
        _check_numbers(store, options.number)
        lines = outbox.drop(store, options.number or None)
    Console().print(f"{_lines(lines)} forgotten", **_ONE_LINE)
    return 0


def _check_numbers(store: Store, numbers: Sequence[int]) -> None:
    if unknown := outbox.unknown_numbers(store, numbers):
        raise OutboxUsageError(
            f"no refused line has the number {', '.join(map(str, unknown))}\n"
            "  -> `tierlab outbox list` shows them"
        )


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"
