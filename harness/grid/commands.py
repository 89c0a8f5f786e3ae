"""`tierlab lab-matrix`: run a grid of stand-ins, models and engines, and resume it."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from harness.devices.places import PlacesSettings, unusable
from harness.errors import UserError
from harness.grid.artifacts import missing_engines, needed
from harness.grid.history import cell_of, done, durations, estimated, json_lines
from harness.grid.plan import check_name, expand, load_plan, only, remaining
from harness.grid.run import (
    REST_SECONDS,
    GridRun,
    Tally,
    clock_time,
    ended_in_order,
    host_at_rest,
    run_trials,
)
from harness.laboratory import Laboratory, LaboratorySettings
from harness.load import Deadlines
from harness.models import find_model
from harness.profiles import load_profiles
from harness.trial import TrialSettings
from harness.weights.cache import ArtifactCache
from results.record import Record, Verdict
from results.store import Store
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from harness.grid.plan import GridTrial
    from harness.profiles import Kind, Profile

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

PLAN: Final = Path("benchmarks/grid/lab.toml")
PROBE_BUDGET_MS: Final = 1200
# Shorter than a user's run has them: the slowest engine here is silent for a minute at most, and a
# browser that grinds on at its limit of memory must not take the time of twenty others.
DEADLINES: Final = Deadlines(load_seconds=150.0, token_seconds=150.0)
INTERRUPTED: Final = 130

_EPILOG = """examples:
  tierlab lab-matrix --plan benchmarks/grid/lab.toml --dry-run     what it would do, and how long
  tierlab lab-matrix --plan benchmarks/grid/lab.toml --prepare     write all model files first
  tierlab lab-matrix --plan benchmarks/grid/lab.toml               run it, or go on with it
  tierlab lab-matrix --plan benchmarks/grid/lab.toml --minutes 55  as much as that allows
  tierlab lab-matrix --plan benchmarks/grid/lab.toml --export benchmarks/trials/lab.jsonl

exit codes:
  0    every trial has a result
  1    some have none yet: faults of the lab's, or no time left; the same command goes on
  130  interrupted; the same command goes on"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `lab-matrix`; it sets `func`, which returns an exit code."""
    parser = subparsers.add_parser(
        "lab-matrix",
        help="run a grid of limited devices, models and engines",
        description="Runs the trials of a plan one after the other, each on a host at rest, with"
        " a probe of its own. What the store already has of it is skipped.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--plan", type=Path, required=True, metavar="FILE", help="the plan: a TOML file")
    add(
        "--results", type=Path, default=Path("tierlab-results"), metavar="DIR",
        help="where records and raw evidence go (default: %(default)s)",
    )  # fmt: skip
    add("--name", help="of the grid in the store (default: the plan's)")
    add("--only", metavar="CLASS,...", help="only these devices of the plan")
    add("--limit", type=_positive, metavar="N", help="at most N trials now")
    add("--minutes", type=_minutes, metavar="M", help="begin none that would end later")
    add(
        "--probe-budget", type=_positive, default=PROBE_BUDGET_MS, metavar="MS",
        help="how long each probe may measure (default: %(default)s)",
    )  # fmt: skip
    add(
        "--rest", type=_positive, default=REST_SECONDS, metavar="SECONDS",
        help="how long the host may take to come to rest before each trial (default: %(default)g)",
    )  # fmt: skip
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--dry-run", action="store_true", help="only show what would be done")
    way.add_argument("--prepare", action="store_true", help="only write the model files")
    way.add_argument("--export", type=Path, metavar="FILE", help="only write its records as JSONL")
    parser.set_defaults(func=lab_matrix)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return minutes


def lab_matrix(options: argparse.Namespace) -> int:
    """Run, prepare, show or export a grid; the exit code."""
    plan = load_plan(options.plan)
    name = check_name(options.name or plan.name)
    console = Console()
    records = _records(options.results, name)
    if options.export:
        cells = {trial.cell for trial in expand(plan)}
        return _export(console, options.export, [r for r in records if cell_of(r) in cells])
    profiles = load_profiles()
    wanted = [word.strip() for word in (options.only or "").split(",") if word.strip()]
    trials = only(expand(plan, profiles), wanted)
    missing_engines(trial.cell for trial in trials)
    if options.prepare:
        return _prepare(console, trials)
    left = estimated(remaining(trials, done(records)), durations(records))[: options.limit]
    if options.dry_run:
        _show_plan(console, name, trials, left, profiles)
        return 0
    return _run(console, options, name, left, profiles)


def _records(results: Path, name: str) -> list[Record]:
    """The records of a grid, none where there is no store yet."""
    if not results.is_dir():
        return []
    with Store.open(results) as store:
        return store.records(run_id=name)


def _run(
    console: Console,
    options: argparse.Namespace,
    name: str,
    trials: Sequence[GridTrial],
    profiles: dict[str, Profile],
) -> int:
    results: Path = options.results.absolute()
    with _making(results):
        results.mkdir(parents=True, exist_ok=True)
    _refuse_unusable(results, trials, profiles)
    with Store.open(results) as store:
        store.start_run(name, f"tierlab lab-matrix --plan {options.plan}")
    tally, code = Tally(total=len(trials)), 0
    log_path = results / f"{name}.log"
    with _log(log_path) as log, ended_in_order():
        run = GridRun(
            profiles=profiles,
            open_bench=lambda kind: _laboratory(kind, name, results, options.probe_budget, log),
            rest=lambda: host_at_rest(options.rest),
            say=lambda line: _say(console, line, log),
        )
        _say(console, f"{name}: {len(trials)} trials, about {clock_time(_seconds(trials))}", log)
        seconds = options.minutes * 60 if options.minutes else None
        try:
            run_trials(trials, run, tally, seconds=seconds)
        except KeyboardInterrupt:
            code = INTERRUPTED
    _show_summary(console, _records(results, name))
    if tally.left or tally.failed:
        reason = "interrupted; " if code else "no time left; " if tally.out_of_time else ""
        _lines(
            console,
            f"{reason}{tally.left} trials not run, {tally.failed} without a result: the same"
            f" command goes on with them (what happened: {plain(str(log_path))})",
        )
        return code or 1
    if not (options.limit or options.only):
        with Store.open(results) as store:
            store.finish_run(name)
    return code


def _laboratory(
    kind: Kind, name: str, results: Path, budget_ms: int, log: Callable[[str], None]
) -> Laboratory:
    settings = LaboratorySettings(
        trial=TrialSettings(
            run_id=name,
            results=results,
            deadlines=DEADLINES,
            probe_budget_ms=budget_ms,
        ),
        places=_places(results, kind),
    )
    return Laboratory(settings, log)


def _places(results: Path, kind: Kind) -> PlacesSettings:
    return PlacesSettings(emulate=kind == "android", work=results / "phones" / "lab-matrix")


def _refuse_unusable(
    results: Path, trials: Iterable[GridTrial], profiles: dict[str, Profile]
) -> None:
    """A grid does not begin with devices that this machine cannot stand in for.

    Raises:
        UserError: there are such; a line each.
    """
    lines = []
    for device in dict.fromkeys(trial.cell.device for trial in trials):
        profile = profiles[device]
        if reason := unusable(profile, _places(results, profile.kind)):
            lines.append(f"device {device!r} cannot be used: {reason}")
    if lines:
        raise UserError("\n".join(lines), "choose others with --only")


@contextlib.contextmanager
def _making(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written: {error.strerror}", "choose another place"
        ) from error


@contextlib.contextmanager
def _log(path: Path) -> Iterator[Callable[[str], None]]:
    """A file of everything that happens, line by line with the time."""
    with _making(path):
        file = path.open("a", encoding="utf-8", buffering=1)
    with file:
        yield lambda line: print(f"{datetime.now(UTC):%H:%M:%SZ} {line}", file=file)


def _say(console: Console, line: str, log: Callable[[str], None]) -> None:
    log(line)
    console.print(plain(line), markup=False, highlight=False, soft_wrap=True)


def _seconds(trials: Iterable[GridTrial]) -> float:
    return sum(trial.seconds for trial in trials)


def _prepare(console: Console, trials: Sequence[GridTrial]) -> int:
    """Write the model files that are not there yet."""
    cache = ArtifactCache()
    cache.sweep()
    needs = needed((trial.cell for trial in trials), cache)
    for need in needs:
        words = "there" if need.made else "writing"
        console.print(f"{words:>8} {need.total_bytes / 1e6:8,.0f} MB  {need.key}", highlight=False)
        cache.ensure(find_model(need.model), need.recipe)
    total = sum(need.total_bytes for need in needs)
    console.print(f"{len(needs)} model files, {total / 1e9:.1f} GB: {plain(str(cache.root))}")
    return 0


def _show_plan(
    console: Console,
    name: str,
    trials: Sequence[GridTrial],
    left: Sequence[GridTrial],
    profiles: dict[str, Profile],
) -> None:
    """What a grid would do now, by device and engine."""
    table = Table("device", "runtime", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("cells", "trials", "to run", "minutes"):
        table.add_column(heading, justify="right")
    pairs = sorted({_row(trial) for trial in trials})
    last = ""
    for pair in pairs:
        mine = [trial for trial in trials if _row(trial) == pair]
        todo = [trial for trial in left if _row(trial) == pair]
        figures = (
            str(len({trial.cell for trial in mine})),
            str(len(mine)),
            str(len(todo)),
            f"{_seconds(todo) / 60:.1f}",
        )
        table.add_row(pair[0] if pair[0] != last else "", pair[1], *figures)
        last = pair[0]
    console.print(table)
    needs = needed((trial.cell for trial in trials), ArtifactCache())
    missing = [need for need in needs if not need.made]
    phones = {t.cell.device for t in trials if profiles[t.cell.device].kind == "android"}
    cells = {trial.cell for trial in trials}
    size, to_make = (sum(need.total_bytes for need in some) / 1e9 for some in (needs, missing))
    _lines(
        console,
        f"{name}: {len(cells)} cells on {len({c.device for c in cells})} devices"
        f" ({len(phones)} virtual phones), {len({c.workload.model for c in cells})} models,"
        f" {len({c.workload.runtime for c in cells})} runtimes",
        f"{len(trials)} trials, {len(trials) - len(left)} of them done or left out;"
        f" about {clock_time(_seconds(left))} to go",
        f"{len(needs)} model files, {size:.1f} GB; {to_make:.1f} GB of them still to be written",
    )


def _lines(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _row(trial: GridTrial) -> tuple[str, str]:
    return trial.cell.device, trial.cell.workload.runtime


def _show_summary(console: Console, records: Sequence[Record]) -> None:
    """What came out so far, by device and engine. Faults of the lab's count each time."""
    verdicts = [v for v in Verdict if any(r.verdict == v for r in records)]
    if not verdicts:
        return
    table = Table("device", "runtime", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for verdict in verdicts:
        table.add_column(str(verdict), justify="right")
    counts = Counter((r.device.profile, r.workload.runtime, r.verdict) for r in records)
    last = ""
    for device, runtime in sorted({(d, e) for d, e, _ in counts}):
        shown = [str(counts[device, runtime, v] or "") for v in verdicts]
        table.add_row(plain(device) if device != last else "", plain(runtime), *shown)
        last = device
    table.add_section()
    totals = Counter(r.verdict for r in records)
    table.add_row("all", "", *(str(totals[v]) for v in verdicts))
    console.print(table)
    cells = len({cell_of(record) for record in records})
    console.print(f"{len(records)} records of {cells} cells", highlight=False)


def _export(console: Console, path: Path, records: Sequence[Record]) -> int:
    """Write the records for keeping with the code; replaced when whole."""
    good = [record for record in records if record.verdict is not Verdict.INFRA]
    if not good:
        raise UserError("this grid has no records yet", "run it first, or name another --results")
    with _making(path):
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=".partial-", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(f"{line}\n" for line in json_lines(good))
        whole = Path(file.name)
        whole.chmod(0o644)
        whole.replace(path)
    size = path.stat().st_size
    console.print(f"{len(good)} records, {size / 1e6:.1f} MB: {plain(str(path))}", highlight=False)
    return 0
