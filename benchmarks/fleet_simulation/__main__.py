"""A night of a lab of thousands of phones, simulated from what was measured.

    python -m benchmarks.fleet_simulation            # 5,000 phones on 200 hosts, as planned
    python -m benchmarks.fleet_simulation --group health --group losses --seeds 5
    python -m benchmarks.fleet_simulation --phones 200 --hosts 8 --group all
    python -m benchmarks.fleet_simulation --set fault_rate=0.05 --set usb_links=1
    python -m benchmarks.fleet_simulation --parameters         # every figure and its source

Requests, trial times, faults and losses follow from the seed: the same seeds, the same table. Each
cell is the median over the seeds, in brackets the lowest and the highest.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from benchmarks.fleet_simulation.experiments import GROUPS, HEADS, row, run
from benchmarks.fleet_simulation.lab import Size
from benchmarks.fleet_simulation.parameters import load_entries, load_parameters
from benchmarks.fleet_simulation.trials import MEASURED, measured_loads
from benchmarks.markdown import markdown_table
from harness.errors import UserError, unknown


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet_simulation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    size = Size()
    parser.add_argument(
        "--group", action="append", metavar="NAME", help=f"all, {', '.join(GROUPS)}"
    )
    parser.add_argument("--phones", type=int, default=size.phones)
    parser.add_argument("--hosts", type=int, default=size.hosts)
    parser.add_argument("--devices-a-profile", type=int, default=size.devices_a_profile)
    parser.add_argument("--trials-a-device", type=int, default=size.trials_a_device)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from --seed on")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=Path, default=MEASURED, help="records to draw loads from")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="change a parameter"
    )
    parser.add_argument("--parameters", action="store_true", help="print them, and end")
    return parser.parse_args()


def changes(words: list[str]) -> dict[str, float]:
    """What `--set` says.

    Raises:
        UserError: a name is unknown, or a value is not one that it can have.
    """
    known = load_entries()
    found: dict[str, float] = {}
    for word in words:
        name, _, value = word.partition("=")
        if name not in known:
            raise unknown("parameter", name, known)
        try:
            found[name] = float(value)
            load_parameters(found)
        except (ValidationError, ValueError):
            raise UserError(
                f"--set {word}: {value!r} is no value of {name}", f"its own: {known[name].value:g}"
            ) from None
    return found


def _print_tables(options: argparse.Namespace) -> None:
    changed = changes(options.set)
    names = options.group or ["plan"]
    if "all" in names:
        names = list(GROUPS)
    for name in names:
        if name not in GROUPS:
            raise unknown("group", name, GROUPS)
    if options.seeds < 1:
        raise UserError("--seeds must be at least 1", "one seed is one night")
    size = Size(options.phones, options.hosts, options.devices_a_profile, options.trials_a_device)
    loads = measured_loads(options.trials)
    seeds = range(options.seed, options.seed + options.seeds)
    for name in names:
        rows = []
        for scenario in GROUPS[name]:
            one = replace(scenario, changed=changed | dict(scenario.changed))
            rows.append(row(one.name, [run(one, size, loads, seed=seed) for seed in seeds]))
            print(".", end="", flush=True, file=sys.stderr)
        print(f"\n{name}: {size.phones:,} phones, {size.hosts} hosts\n", flush=True)
        print(markdown_table(HEADS, rows), flush=True)


def main() -> None:
    """Print a table a group, or the parameters."""
    options = _arguments()
    if options.parameters:
        rows = ([n, f"{p.value:g}", p.kind, p.source] for n, p in load_entries().items())
        print(markdown_table(("parameter", "value", "kind", "source"), rows, left=4))
        return
    try:
        _print_tables(options)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
