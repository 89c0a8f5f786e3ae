"""`tierlab store export | import | prune | check`: the stored results as a whole."""

from __future__ import annotations

import argparse
import contextlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from results.errors import StoreError
from results.query import count_trials, figures
from results.store import FILE_NAME, Store
from results.table import plain
from results.upkeep.integrity import check
from results.upkeep.merge import merge
from results.upkeep.retention import LEAST_AGE, prune

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from results.upkeep.integrity import Report
    from results.upkeep.merge import Merged
    from results.upkeep.retention import Pruned

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXPORT = """examples:
  tierlab store export trials.parquet
  tierlab store export gemma.parquet --model gemma-2b --since 2026-05-31
  tierlab store export everything.parquet --records     with each whole record as JSON"""

_IMPORT = """examples:
  tierlab store import /mnt/lab-2/tierlab-results
  tierlab store import lab-2/ lab-3/ --no-files         records only, without raw evidence

exit codes:
  0  everything of the others is here now
  1  something was left: it cannot be read, or another of the same id is here"""

_PRUNE = """examples:
  tierlab store prune --older-than 90d --dry-run        only say what would go
  tierlab store prune --older-than 30d --files-only     keep the records, drop raw evidence
  tierlab store prune --older-than 52w --compact        and make the store's file smaller"""

_CHECK = """examples:
  tierlab store check
  tierlab store check --repair

exit codes:
  0  nothing is wrong, or no longer
  1  something is wrong"""

_EXAMPLES = """examples:
  tierlab store export trials.parquet                   for notebooks and data frames
  tierlab store import /mnt/lab-2/tierlab-results       what another host has measured
  tierlab store prune --older-than 90d --dry-run        what would go
  tierlab store check                                   whether all is well

`tierlab store COMMAND --help` has more."""

# What is listed of one kind of message; the rest is counted.
_SHOWN: Final = 20

_MEGABYTE: Final = 1_000_000

_UNITS: Final = {"d": timedelta(days=1), "w": timedelta(weeks=1)}


def add_commands(subparsers: Subparsers) -> None:
    """Add `store` and its commands; each sets `func`, which returns an exit code."""
    store = subparsers.add_parser(
        "store",
        help="export, import, prune and check stored results",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = store.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_export(commands)
    _add_import(commands)
    _add_prune(commands)
    _add_check(commands)


def _command(
    commands: Subparsers,
    name: str,
    func: Callable[[argparse.Namespace], int],
    text: str,
    epilog: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--results", type=Path, default=Path("tierlab-results"), metavar="DIR",
        help="the results folder (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(func=func)
    return parser


def _add_export(commands: Subparsers) -> None:
    text = "write the figures of all trials to a Parquet file"
    add = _command(commands, "export", _export, text, _EXPORT).add_argument
    add("file", type=Path, help="replaced when the export is whole; its name ends in .parquet")
    add("--records", action="store_true", help="add a column with the whole record as JSON")
    add("--run", metavar="ID", help="of this run only")
    add("--device", metavar="ID", help="of this device profile only")
    add("--model", metavar="ID", help="of this model only")
    add("--quant", metavar="NAME", help="of this quantisation only, by the engine's own name")
    add("--runtime", metavar="ID", help="of this runtime only")
    add("--since", type=_date, metavar="DATE", help="trials from that day on (UTC): 2026-05-31")


def _add_import(commands: Subparsers) -> None:
    text = "take the results of other hosts"
    add = _command(commands, "import", _import, text, _IMPORT).add_argument
    add("others", nargs="+", type=Path, metavar="OTHER", help="their results folders")
    add("--no-files", action="store_true", help="leave their raw evidence where it is")


def _add_prune(commands: Subparsers) -> None:
    text = "remove old results; what still waits to be sent is kept"
    add = _command(commands, "prune", _prune, text, _PRUNE).add_argument
    add("--older-than", type=_age, required=True, metavar="AGE", help="in days or weeks: 90d, 52w")
    add("--files-only", action="store_true", help="raw evidence only; keep records and figures")
    add("--unsent", action="store_true", help="also what waits to be sent to InfluxDB")
    add("--compact", action="store_true", help="give free room in the store back to the disk")
    add("--dry-run", action="store_true", help="change nothing, only say what would go")


def _add_check(commands: Subparsers) -> None:
    text = "look for damage in the store, and for missing evidence"
    add = _command(commands, "check", _check, text, _CHECK).add_argument
    add("--repair", action="store_true", help="make anew what follows from the records")


def _export(options: argparse.Namespace) -> int:
    try:
        # An extra, and slow to import.
        from results.upkeep.export import export_parquet  # noqa: PLC0415
    except ImportError as error:
        raise StoreError(
            "Parquet files need pyarrow, which is not installed\n"
            "  -> pip install 'tierlab[parquet]'"
        ) from error
    if options.file.suffix != ".parquet":
        raise StoreError(f"{options.file}: not written\n  -> give it a name that ends in .parquet")
    with _opened(options.results) as store, _bar("exporting") as progress:
        total = count_trials(store)
        trials = figures(
            store,
            run_id=options.run,
            profile=options.device,
            model=options.model,
            quantisation=options.quant,
            runtime=options.runtime,
            since=options.since,
        )
        written = export_parquet(
            store,
            trials,
            options.file,
            records=options.records,
            progress=lambda done: progress(done, total),
        )
    _say(f"{options.file}: {_count(written, 'trial')}, {_size(options.file.stat().st_size)}")
    return 0


def _import(options: argparse.Namespace) -> int:
    clean = True
    with Store.open(options.results) as store:
        for other in options.others:
            with _bar(f"importing {other}") as progress:
                done = merge(store, other, files=not options.no_files, progress=progress)
            _say(f"{other}: {_taken(done)}")
            _list("left, as another is here", done.conflicts)
            _list("left, as it cannot be read", done.unreadable)
            clean = clean and done.clean
    return 0 if clean else 1


def _taken(done: Merged) -> str:
    new = _sum(
        (done.records, "trial"),
        (done.findings, "finding"),
        (done.capabilities, "capability"),
        (done.runs, "run"),
        (done.requests, "request"),
        (done.tests, "test"),
        (done.events, "event"),
    )
    aside = (
        f"; {_count(done.superseded, 'trial')} set aside as superseded" if done.superseded else ""
    )
    known = f"; {done.known:,} were here already" if done.known else ""
    evidence = (
        f"; {_count(done.folders, 'folder')} of evidence, {_size(done.copied_bytes)}"
        if done.folders
        else ""
    )
    return f"took {new}{aside}{evidence}{known}"


def _prune(options: argparse.Namespace) -> int:
    with _opened(options.results) as store:
        with _bar("pruning") as progress:
            done = prune(
                store,
                datetime.now(UTC) - options.older_than,
                files_only=options.files_only,
                unsent=options.unsent,
                dry_run=options.dry_run,
                progress=lambda text: progress(0, 0, text),
            )
        _say_pruned(done, dry_run=options.dry_run)
        if options.dry_run:
            return 0
        free = store.free_bytes()
        if options.compact and free:
            with _bar("compacting") as progress:
                store.compact()
            _say(f"the store is {_size(free)} smaller")
        elif done.records:
            _say(f"{_size(free)} of the store are free for new records;", end=" ")
            _say("--compact gives them back")
    return 0


def _say_pruned(done: Pruned, *, dry_run: bool) -> None:
    rows = _sum(
        (done.records, "trial"),
        (done.superseded, "superseded trial"),
        (done.findings, "finding"),
        (done.capabilities, "capability"),
    )
    orphans = f" ({done.orphans:,} of no trial)" if done.orphans else ""
    _say(
        f"{'would remove' if dry_run else 'removed'} {rows};"
        f" {_count(done.folders, 'folder')} of evidence{orphans}, {_size(done.freed_bytes)}"
    )
    if done.waiting:
        _say(f"kept {_count(done.waiting, 'old trial')}: {_what_waits(done)}")
    _list("left, as it is a link", done.links)


def _what_waits(done: Pruned) -> str:
    if done.hands_over:
        return (
            "not handed over to the controller yet\n"
            "  -> this host's next job hands them over; --unsent removes them all the same"
        )
    return (
        "not sent to InfluxDB yet\n"
        "  -> `tierlab outbox send` sends them; --unsent removes them all the same"
    )


def _check(options: argparse.Namespace) -> int:
    with _opened(options.results) as store, _bar("checking") as progress:
        report = check(store, repair=options.repair, progress=progress)
    _list("mended", [text for text, mended in report.problems if mended])
    _list("wrong", [text for text, mended in report.problems if not mended])
    _say(_in_short(report))
    if not report.sound and not options.repair:
        _say("  -> `tierlab store check --repair` mends what follows from the records")
    return 0 if report.sound else 1


def _in_short(report: Report) -> str:
    wrong = sum(not mended for _, mended in report.problems)
    pruned = (
        f"; the evidence of {report.without_evidence:,} is not here (pruned, or never imported)"
        if report.without_evidence
        else ""
    )
    found = f"{_count(wrong, 'problem')}" if wrong else "nothing is wrong"
    return f"{_count(report.records, 'trial')}: {found}{pruned}"


# ---- words ----


def _say(text: str, end: str = "\n") -> None:
    """Print text that devices may have had a word in."""
    lines = "\n".join(plain(line) for line in text.splitlines())
    Console().print(lines, end=end, markup=False, highlight=False, soft_wrap=True)


def _list(heading: str, texts: list[str]) -> None:
    for text in texts[:_SHOWN]:
        _say(f"{heading}: {text}")
    if len(texts) > _SHOWN:
        _say(f"{heading}: {len(texts) - _SHOWN:,} more")


def _count(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _sum(*counts: tuple[int, str]) -> str:
    """What there is of several things: `2 trials, 1 finding`; the first in any case."""
    return ", ".join(
        _count(number, noun) for place, (number, noun) in enumerate(counts) if number or not place
    )


def _size(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= _MEGABYTE else f"{size / 1e3:,.0f} kB"


# ---- around a command ----


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Store]:
    """The store of a results folder, which is not made."""
    if not (folder / FILE_NAME).is_file():
        raise StoreError(
            f"{folder}: there are no results here\n"
            "  -> run `tierlab run` first, or choose another --results"
        )
    with Store.open(folder) as store:
        yield store


@contextlib.contextmanager
def _bar(text: str) -> Iterator[_Tell]:
    """A bar on the standard error, where that is a terminal, while something goes on."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield _Tell(bar, plain(text))


class _Tell:
    """What moves a bar: `tell(done, total)`, with another text if need be."""

    def __init__(self, bar: Progress, text: str) -> None:
        self._bar = bar
        self._task = bar.add_task(text, total=None)

    def __call__(self, done: int, total: int, text: str | None = None) -> None:
        self._bar.update(self._task, completed=done, total=total or None)
        if text is not None:
            self._bar.update(self._task, description=text)


def _age(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([dw])", text)
    age = int(match[1]) * _UNITS[match[2]] if match else timedelta()
    if age <= LEAST_AGE:
        raise argparse.ArgumentTypeError(f"{text} is no age above a day, such as 90d or 52w")
    return age


def _date(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a date such as 2026-05-31") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
