"""What a finished job costs the controller besides Buildbot: its record is taken up.

    python benchmarks/handover.py --trials 100000 --rounds 5

Real records (benchmarks/trials/lab.jsonl, under new ids) in real bundles, taken into a store that
holds a year already: by the commands as the master calls them, a process each; and by the same code
within one process, a bundle of one record and one of a hundred. Processor seconds and seconds by
the clock: on a machine that does other things too, trust the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.big_store import fill
from benchmarks.markdown import markdown_table, significant
from harness.fleet.delivery import pack, receive
from results.record import Record
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TRIALS: Final = Path(__file__).parent / "trials" / "lab.jsonl"
MANY: Final = 100
RUN: Final = "tonight"
HEADS: Final = ("what", "CPU s", "lowest", "highest", "clock s", "CPU s a record", "n")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the processor and of the clock."""

    cpu: float
    clock: float


def _timed(work: Callable[[], object]) -> Spent:
    """What `work` took, its child processes included."""

    def cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    before, began = cpu(), time.perf_counter()
    work()
    return Spent(cpu() - before, time.perf_counter() - began)


def records(path: Path = TRIALS) -> Iterator[Record]:
    """Real records, under an id of their own each; without an end."""
    bodies = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    number = 0
    while True:
        for body in bodies:
            number += 1
            yield Record.model_validate(
                body | {"trial_id": f"{number:032x}", "run_id": RUN, "files": {}}
            )


def bundle(source: Iterator[Record], count: int, folder: Path) -> Path:
    """A bundle of so many records, as a host packs it."""
    with closing(Store.open(folder / "host")) as store:
        store.start_run(RUN, "pytest suites")
        for _ in range(count):
            store.add(next(source))
        pack(store, folder / "bundle.tar.gz")
    return folder / "bundle.tar.gz"


def measure(folder: Path, rounds: int, source: Iterator[Record]) -> dict[str, list[Spent]]:
    """All ways in turns, into the store of `folder`, where its evidence would be."""
    found: dict[str, list[Spent]] = {}

    def command(*words: str, module: str = "harness.fleet") -> None:
        subprocess.run(
            [sys.executable, "-m", module, *words, f"--results={folder}"],
            check=True,
            capture_output=True,
            timeout=300,
        )

    with closing(Store.open(folder)) as store, tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds):
            files = [
                bundle(source, count, Path(scratch) / f"{number}-{n}")
                for n, count in enumerate((1, 1, MANY))
            ]
            ways: dict[str, Callable[[], object]] = {
                "a process: `wanted`": partial(command, "wanted", "0" * 64),
                "a process: `receive`, 1 record": partial(command, "receive", str(files[0])),
                "a process: `tierlab fleet wanted`": partial(
                    command, "fleet", "wanted", "0" * 64, module="harness.cli"
                ),
                "in one process, 1 record": partial(receive, store, [files[1]]),
                f"in one process, {MANY} records": partial(receive, store, [files[2]]),
            }
            for name, work in ways.items():
                found.setdefault(name, []).append(_timed(work))
        arrived = len(store.records(run_id=RUN))
        if arrived != rounds * (2 + MANY):
            raise RuntimeError(f"{arrived} records arrived, of {rounds * (2 + MANY)}")
    return found


def table(found: dict[str, list[Spent]]) -> str:
    """A row a way."""

    def row(name: str, spent: list[Spent]) -> list[str]:
        cpu = sorted(one.cpu for one in spent)
        count = MANY if f"{MANY} records" in name else 1
        return [
            name,
            *(significant(value) for value in (median(cpu), cpu[0], cpu[-1])),
            significant(median(one.clock for one in spent)),
            significant(median(cpu) / count),
            str(len(spent)),
        ]

    return markdown_table(HEADS, [row(name, spent) for name, spent in found.items()])


def main() -> None:
    """Fill a store, measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100_000, help="in the store before")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="handover-") as name:
        folder = Path(name)
        fill(folder, options.trials)
        print(f"load average {os.getloadavg()[0]:.1f}, {options.trials:,} trials before\n")
        print(table(measure(folder, options.rounds, records())))


if __name__ == "__main__":
    main()
