"""`tierlab accuracy`, `tierlab calibrate` and `tierlab features`: what stored trials teach."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import UserError, first_fault, unknown
from harness.models import QUANTISATIONS
from harness.observing import observe
from harness.runtimes import RUNTIMES
from results.calibration import read_calibration
from results.record import Record
from results.store import FILE_NAME, Store
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.probe.recipe import EngineRecipe
    from harness.runtimes.base import Runtime
    from results.observation import Observation, Quantity

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

CALIBRATION: Final = Path(__file__).parent / "probe" / "calibration.json"

_ACCURACY_EXAMPLES: Final = """\
examples:
  tierlab accuracy                                  the trials of this results folder
  tierlab accuracy --records benchmarks/trials/*.jsonl --check
  tierlab accuracy --by device --history            by device class, and what history adds
  tierlab accuracy --json accuracy.json --markdown docs/accuracy.md --pictures docs/images

exit codes:
  0  done; with --check: everything holds that must
  1  with --check: a bound does not hold, or nothing is known of it; else the command failed
"""

_CALIBRATE_EXAMPLES: Final = """\
examples:
  tierlab calibrate                                 from the trials of this results folder
  tierlab calibrate --records benchmarks/trials/*.jsonl
  tierlab calibrate --run 20260131-120000-ab12 --output calibration.json
"""

_FEATURES_EXAMPLES: Final = """\
examples:
  tierlab features export features.jsonl            devices, speeds and outcomes, nothing personal
  tierlab features neighbours desktop-2g            the devices that are most like one
  tierlab features neighbours desktop-2g --database features.jsonl
"""


def add_commands(subparsers: Subparsers) -> None:
    """Add the three commands; each sets `func`, which returns an exit code."""
    _add_accuracy(subparsers)
    calibrate = subparsers.add_parser(
        "calibrate",
        help="fit what engines cost, for the probe's predictions",
        description="Fits the factors of each engine from trusted trials and writes the file\n"
        "that the probe predicts with. The same trials give the same file.",
        epilog=_CALIBRATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sources(calibrate)
    calibrate.add_argument(
        "--output",
        type=Path,
        default=CALIBRATION,
        metavar="FILE",
        help="what to write (default: the probe's own calibration.json)",
    )
    calibrate.set_defaults(func=_calibrate)
    _add_features(subparsers)


def _add_accuracy(subparsers: Subparsers) -> None:
    accuracy = subparsers.add_parser(
        "accuracy",
        help="how far predictions are off on devices and models left out",
        description="Leaves out each device class (model, group of classes) in turn, fits the\n"
        "rest, and holds the predictions against what was measured, beside simpler rules.",
        epilog=_ACCURACY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_sources(accuracy)
    add = accuracy.add_argument
    add(
        "--by",
        choices=["runtime", "device", "model"],
        default="runtime",
        help="what to tell errors apart by (default: %(default)s)",
    )
    add("--history", action="store_true", help="also with what was measured before")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--markdown", type=Path, metavar="FILE", help="write the tables between its markers")
    add("--pictures", type=Path, metavar="DIR", help="draw the pictures as SVG")
    add("--check", action="store_true", help="fail, and name it, where a bound does not hold")
    accuracy.set_defaults(func=_accuracy)


def _add_features(subparsers: Subparsers) -> None:
    features = subparsers.add_parser(
        "features",
        help="devices as the probe sees them, and what came of loads",
        description="The feature database: what the probe measured beside what loads did.",
        epilog=_FEATURES_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = features.add_subparsers(title="actions", required=True, metavar="ACTION")
    export = actions.add_parser(
        "export", help="write it as JSON lines, without what is personal or of the lab"
    )
    export.add_argument("file", type=Path, metavar="FILE")
    _add_sources(export)
    export.set_defaults(func=_export)
    near = actions.add_parser("neighbours", help="the devices most like one of them")
    near.add_argument("device", metavar="DEVICE", help="a device class of the trials")
    near.add_argument("--database", type=Path, metavar="FILE", help="an exported one to look in")
    near.add_argument("-k", type=_count, default=5, metavar="N", help="how many (default: 5)")
    _add_sources(near)
    near.set_defaults(func=_neighbours)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--records",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="records as JSON lines, instead of those of a results folder",
    )
    parser.add_argument("--results", type=Path, default=Path("tierlab-results"), metavar="DIR")
    parser.add_argument("--run", metavar="ID", help="of that run only")


def _count(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no number from 1 on")
    return int(word)


def _accuracy(options: argparse.Namespace) -> int:
    # The fit needs a second to import, which other commands need not wait for.
    from results.evaluation.commands import accuracy  # noqa: PLC0415

    trials = observations(options)
    return accuracy(Console(), Console(stderr=True), trials, options, beliefs())


def _calibrate(options: argparse.Namespace) -> int:
    from results.evaluation.commands import calibrate  # noqa: PLC0415 - as above

    calibrate(Console(), observations(options), options.output, beliefs())
    return 0


def _export(options: argparse.Namespace) -> int:
    from results.features.rows import rows, write_rows  # noqa: PLC0415 - as above

    trials = observations(options)
    written = write_rows(options.file, rows(trials, _expected(trials)))
    Console().print(
        f"{written} trials written to {options.file}", markup=False, highlight=False, soft_wrap=True
    )
    return 0


def _expected(trials: Iterable[Observation]) -> dict[str, dict[Quantity, float]]:
    """What the probe's calibration says of each trial, where there is one."""
    from results.learning import expected_value  # noqa: PLC0415 - as above

    if not CALIBRATION.is_file():
        return {}
    engines = read_calibration(CALIBRATION).engines
    return {
        trial.trial_id: {
            quantity: value
            for quantity, value in (
                (quantity, expected_value(trial, quantity, engines.get(trial.recipe, {})))
                for quantity in trial.measured
            )
            if value is not None
        }
        for trial in trials
    }


def _neighbours(options: argparse.Namespace) -> int:
    from results.features.neighbours import neighbours, vectors  # noqa: PLC0415 - as above
    from results.features.rows import read_rows  # noqa: PLC0415 - as above

    own = vectors((o.device, o.vector) for o in observations(options) if o.vector)
    if options.device not in own:
        raise unknown("device", options.device, own)
    database = own
    if options.database:
        database = vectors((row.device, row.vector) for row in read_rows(options.database))
    others = {name: rates for name, rates in database.items() if name != options.device}
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("device")
    shown.add_column("rates differ by\n(factor, mean)", justify="right")
    shown.add_column("weight", justify="right")
    for one in neighbours(own[options.device], others, options.k):
        shown.add_row(Text(plain(one.device)), f"{2**one.distance:.2f}", f"{one.weight:.2f}")
    Console().print(shown)
    return 0


def observations(options: argparse.Namespace) -> list[Observation]:
    """What is to be learned from the trials that the options name.

    Raises:
        UserError: there is none, or a file holds something else.
        StoreError: the results folder cannot be read.
    """
    found = []
    for record in _records(options):
        observation = observe(record)
        if observation is not None:
            found.append(with_conditions(observation, record))
    if not found:
        where = ", ".join(map(str, options.records)) or str(options.results)
        raise UserError(
            f"nothing can be learned from {where}: no trial has both a probe report and an outcome",
            "run some, for example with tierlab lab-matrix, or name files with --records",
        )
    # A trial in two files is one trial.
    return list({observation.trial_id: observation for observation in found}.values())


def beliefs() -> dict[str, dict[Quantity, Mapping[str, float]]]:
    """The factors of before any fit, of each recipe of each engine."""
    recipes = {
        recipe.key: recipe
        for runtime in RUNTIMES.values()
        for quantisation in QUANTISATIONS
        for gpu in (False, True)
        if (recipe := _recipe(runtime, quantisation, gpu=gpu))
    }
    return {
        key: {quantity: known.factors for quantity, known in recipe.defaults.items()}
        for key, recipe in recipes.items()
    }


def _recipe(runtime: Runtime, quantisation: str, *, gpu: bool) -> EngineRecipe | None:
    """What an engine costs with such weights, None where it does not take them."""
    try:
        return runtime.engine(quantisation, gpu=gpu)
    except UserError:
        return None


def _records(options: argparse.Namespace) -> Iterator[Record]:
    if options.records:
        for path in options.records:
            yield from (
                record
                for record in read_records(path)
                if options.run is None or record.run_id == options.run
            )
    elif (options.results / FILE_NAME).is_file():
        with Store.open(options.results) as store:
            yield from store.records(run_id=options.run)
    else:
        raise UserError(
            f"{options.results}: there are no results here",
            "choose another --results, or name files of records with --records",
        )


def read_records(path: Path) -> Iterator[Record]:
    """The records of a file of JSON lines.

    Raises:
        UserError: it cannot be read, or a line is no record.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _record(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}", "name a file of JSON lines") from error


def _record(path: Path, number: int, line: str) -> Record:
    try:
        return Record.model_validate_json(line)
    except ValidationError as error:
        raise UserError(
            f"{path}: line {number} is no record: {first_fault(error, 'the line')}",
            "name files with one record a line, such as those in benchmarks/trials",
        ) from error


def with_conditions(observation: Observation, record: Record) -> Observation:
    """The observation with what it ran on, where it does not say so already."""
    conditions, device = record.conditions, record.device
    browser = f"{conditions.browser} {conditions.browser_version.split('.')[0]}".strip()
    return replace(
        observation,
        day=observation.day or record.started_at.date().isoformat(),
        processor=observation.processor or conditions.cpu,
        browser=observation.browser or browser,
        adapter=observation.adapter or _adapter(record.probe) or conditions.adapter or "",
        cores=observation.cores or device.cpu_limit or float(conditions.cores),
    )


def _adapter(probe: dict[str, Any] | None) -> str:
    """Vendor and architecture of the adapter in a probe report."""
    info: Any = probe
    for key in ("backends", "webgpu", "adapter", "info"):
        info = info.get(key) if isinstance(info, dict) else None
    if not isinstance(info, dict):
        return ""
    return " ".join(_words(info.get(key) for key in ("vendor", "architecture")))


def _words(values: Iterable[object]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str) and value)
