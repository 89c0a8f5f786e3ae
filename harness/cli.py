"""The command line: `tierlab`."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table

from harness.checkout import SUITES
from harness.errors import UserError
from harness.host import harness_version
from harness.models import MODELS, QUANTISATIONS
from results.dashboards.provisioning import DashboardsError
from results.fleet import flake_commands
from results.fleet.story import print_story
from results.influx.settings import InfluxError
from results.matrix.publish import PublishError
from results.report import print_report
from results.site import SiteError
from results.store import Store, StoreError
from results.table import gigabytes, plain
from results.tiers import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN: Final = ("run", "models", "tiers", "runs")
_ADDED_BY: Final = {
    "devices": "harness.devices.commands",
    "model": "harness.weights.commands",
    "predict": "harness.spec_sheet.commands",
    "profile": "harness.emulation.commands",
    "phone": "harness.emulation.phone.commands",
    "matrix": "results.matrix.commands",
    "lab-matrix": "harness.grid.commands",
    "regressions": "results.regressions.commands",
    "fleet": "harness.fleet.commands",
    "outbox": "results.influx.commands",
    "store": "results.upkeep.commands",
    "dashboards": "results.dashboards.commands",
    "calibrate": "harness.learning_commands",
    "accuracy": "harness.learning_commands",
    "features": "harness.learning_commands",
}
"""The module that adds a command. Only that of the command typed is imported: together they need
the libraries of browsers, phones and weights, and a second more."""

_EPILOG = """\
examples:
  tierlab run                          probe and full Gemma-2B load on this machine's browser
  tierlab run --device=desktop-2g      the same in 2 GiB of memory
  tierlab devices                      which devices can be used now, and why not the others
  tierlab tiers                        the thresholds, each with its source
  tierlab predict --device=galaxy-s24-ultra --model=gemma-2b
                                       what a device that is not here will do
  tierlab model make gemma-3-270m      write a model file with random weights
  tierlab profile capture SERIAL       a phone as a profile, without what is personal
  tierlab phone start pixel7           a virtual phone, for adb, Appium or by hand
  tierlab runs show                    the records of the last run
  tierlab runs flakes                  how flaky devices and suites are
  tierlab lab-matrix --plan FILE       a grid of limited devices, models and engines
  tierlab fleet check                  a lab of many devices and hosts
  tierlab matrix                       the compatibility matrix, and its website
  tierlab store import DIR             take what another host has measured
  tierlab outbox list                  what still has to be sent to InfluxDB
  tierlab regressions --by browser     what became worse, and since which build
  tierlab accuracy                     how far predictions are off on devices left out
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"] and not {"-h", "--help"} & set(words):
        # Everything after `run` belongs to pytest, which knows the options already.
        _run(words[1:])
    options = _parser(words[0] if words else "").parse_args(words)
    try:
        code: int = options.func(options)
    except (
        UserError, StoreError, PublishError, SiteError, InfluxError, DashboardsError,
    ) as error:  # fmt: skip
        Console(stderr=True).print(f"tierlab: {error}", style="red", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _parser(command: str = "") -> argparse.ArgumentParser:
    """The parser of a command, or of all commands where the word is none."""
    parser = argparse.ArgumentParser(
        prog="tierlab",
        description="Which device runs which language model, how fast, and can a page know it"
        " before it downloads 1.3 GB?",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tierlab {harness_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run the suites; takes the options of `pytest suites`",
        description="Runs `pytest suites` with the same options; see `pytest suites --help`.",
        epilog="example: tierlab run --device=desktop-2g --model=gemma-2b",
    )
    run.add_argument(
        "options",
        nargs="*",
        help="options of pytest and of tierlab's plugin; --no-matrix: no matrix at the end",
    )

    models = commands.add_parser("models", help="show the catalogue of models")
    models.add_argument("--sources", action="store_true", help="show where each shape is from")
    models.set_defaults(func=_models)
    commands.add_parser("tiers", help="show the thresholds of the tiers").set_defaults(func=_tiers)
    known = command in _OWN or command in _ADDED_BY
    for module in dict.fromkeys(_ADDED_BY.values()):
        if not known or _ADDED_BY.get(command) == module:
            import_module(module).add_commands(commands)

    runs = commands.add_parser("runs", help="look at stored records")
    actions = runs.add_subparsers(title="actions", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="the table of a run, and the evidence of each trial")
    show.add_argument("run_id", nargs="?", help="default: the last run")
    show.add_argument("--results", type=Path, default=Path("tierlab-results"))
    show.add_argument("--evidence", action="store_true", help="list all evidence")
    show.add_argument("--story", action="store_true", help="list every event, in order of time")
    show.set_defaults(func=_show)
    flake_commands.add_parser(actions)
    return parser


def _run(options: list[str]) -> NoReturn:
    """Become `pytest suites`: a process of its own, so that signals reach it directly."""
    words = ["-m", "pytest", str(SUITES), "--matrix", *options]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606


def _models(options: argparse.Namespace) -> int:
    console = Console()
    if options.sources:
        for model in MODELS.values():
            notes = f" ({model.notes})" if model.notes else ""
            console.print(f"{model.id}: {model.source}{notes}", markup=False, soft_wrap=True)
        return 0
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("model", no_wrap=True)
    for heading in (
        "parameters\nbillions",
        *(f"{name}\nGB" for name in QUANTISATIONS),
        "KV cache\nbytes/token",
        "largest tensor\nmillions",
    ):
        shown.add_column(heading, justify="right")
    for model in MODELS.values():
        shown.add_row(
            model.id,
            f"{model.parameters / 1e9:.2f}",
            *(gigabytes(model.weight_bytes(q)) for q in QUANTISATIONS.values()),
            str(model.kv_bytes_per_token()),
            f"{model.largest_tensor_parameters / 1e6:.0f}",
        )
    console.print(shown)
    return 0


def _tiers(_: argparse.Namespace) -> int:
    shown = Table("phase", "tier", "tokens/s", "source")
    for row in rows():
        shown.add_row(*row)
    Console().print(shown)
    return 0


def _show(options: argparse.Namespace) -> int:
    if not options.results.is_dir():
        raise UserError(f"{options.results}: there are no results here", "run `tierlab run` first")
    console = Console()
    with Store.open(options.results) as store:
        run_id = options.run_id or store.latest_run()
        if run_id is None:
            raise UserError(f"{options.results}: no run is stored here", "run `tierlab run` first")
        reported = print_report(console, store, run_id)
        if not print_story(console, store, run_id, full=options.story) and not reported:
            raise UserError(
                f"{options.results}: there are no records of run {run_id}",
                "leave the id out for the last run, or choose another --results",
            )
        records = store.records(run_id=run_id)
    for record in records if options.evidence else ():
        heading = plain(f"{record.trial_id}  {record.verdict}: {record.explanation}")
        console.print(f"\n{heading}", markup=False, highlight=False, soft_wrap=True)
        for item in record.evidence:
            console.print(f"  {plain(str(item))}", markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
