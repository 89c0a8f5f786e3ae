"""`tierlab fleet plan`, and how the commands of `tierlab fleet` are added."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.fleet.config import Fleet, Schedule
from harness.fleet.loading import load_fleet
from harness.fleet.plan import longest_first, requests_of
from harness.fleet.run_options import checked_run_id
from harness.fleet.say import say
from results.fleet.requests import add_requests
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from results.fleet.requests import Request

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

DEFAULT_CONFIG: Final = Path("fleet.toml")

_PLAN = """examples:
  tierlab fleet plan --schedule smoke --run-id smoke-2026-11-26
  tierlab fleet plan --run-id try-1 --models gemma-3-270m --devices 'pixel*' --runtimes best
  tierlab fleet plan --schedule smoke --run-id x --dry-run     only say what would be asked for

What the run has been asked for already is not asked for twice."""


def command(
    commands: Subparsers,
    name: str,
    func: Callable[[argparse.Namespace], int],
    text: str,
    epilog: str = "",
    *,
    config: bool = False,
) -> argparse.ArgumentParser:
    """Add one command."""
    parser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if config:
        parser.add_argument(
            "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE",
            help="the description of the lab (default: %(default)s)",
        )  # fmt: skip
    parser.set_defaults(func=func)
    return parser


def add_command(commands: Subparsers) -> None:
    """Add `plan`."""
    add = command(
        commands, "plan", _plan, "write what a run is asked for into the store", _PLAN, config=True
    ).add_argument
    add("--schedule", metavar="NAME", help="of fleet.toml; what follows goes before it")
    add("--run-id", required=True, metavar="ID", help="the run; planning it again adds nothing")
    for name, what in (
        ("devices", "profiles or devices, or globs of them"),
        ("models", "models"),
        ("runtimes", "runtimes"),
        ("quants", "quantisations"),
    ):
        add(f"--{name}", metavar="A,B", help=what)
    add("--results", type=Path, metavar="DIR", help="default: as fleet.toml says")
    add("--dry-run", action="store_true", help="write nothing")
    add("--json", action="store_true", help="print the requests, one a line, the longest first")


def _plan(options: argparse.Namespace) -> int:
    fleet = load_fleet(options.config)
    schedule = asked_schedule(fleet, options)
    run_id = checked_run_id(options.run_id)
    asked = requests_of(schedule, fleet.profiles_of(schedule), run_id)
    if not asked:
        raise UserError(
            f"no device of the fleet is meant by {', '.join(schedule.devices)}",
            f"there are: {', '.join(fleet.profiles)}",
        )
    with Store.open(options.results or fleet.controller.results) as store:
        ordered = longest_first(store, asked)
        new = 0 if options.dry_run else _write(store, run_id, ordered)
    if options.json:
        for request in ordered:
            print(request.model_dump_json())  # noqa: T201 - for programs
        return 0
    for request in ordered:
        say(f"  {request.profile}: {request.workload.weights} on {request.workload.runtime}")
    done = "would be asked for" if options.dry_run else f"asked for, {new} of them new"
    say(f"run {run_id}: {len(ordered)} trials {done}")
    return 0


def _write(store: Store, run_id: str, asked: list[Request]) -> int:
    store.start_run(run_id, " ".join(sys.argv))
    return add_requests(store, asked)


def asked_schedule(fleet: Fleet, options: argparse.Namespace) -> Schedule:
    """The schedule of a name, with what is given besides in its place; or one of only that.

    Raises:
        UserError: neither a schedule nor a model is named, or a name is unknown.
    """
    given = {
        key: tuple(part.strip() for part in value.split(",") if part.strip())
        for key in ("devices", "models", "runtimes", "quants")
        if (value := getattr(options, key))
    }
    if options.schedule:
        schedule = fleet.schedule(options.schedule)
    elif "models" in given:
        schedule = Schedule(models=given["models"])
    else:
        raise UserError(
            "it is not said what to run", "give --schedule NAME, or --models and what else differs"
        )
    return schedule.model_copy(update=given)
