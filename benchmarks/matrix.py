"""How long the matrix takes from stores of different sizes.

    python benchmarks/matrix.py
    python benchmarks/matrix.py --trials 10000 100000 --rounds 9 --stores /var/tmp/stores

The stores are made up (see big_store.py): 200 trials of each cell, so that a million trials are
5,000 cells. Each round opens the store, builds the matrix and writes `matrix.json`; once more,
everything else is written too: Markdown, badges, and the evidence of every cell. The file is in the
system's cache, since it was just written.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.big_store import fill
from benchmarks.markdown import markdown_table, significant
from results.matrix.build import build_matrix
from results.matrix.schema import to_json
from results.matrix.write import MATRIX_FILE, write_matrix
from results.store import FILE_NAME, Store

SIZES: Final = (10_000, 100_000, 1_000_000)
_NOW: Final = datetime(2026, 10, 1, tzinfo=UTC)


@dataclass(slots=True)
class Times:
    """What was measured of one store, in seconds; `whole` includes the evidence of every cell."""

    trials: int
    cells: int = 0
    store_bytes: int = 0
    matrix_bytes: int = 0
    build: list[float] = field(default_factory=list)
    write: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    whole: float = 0.0


def measure(store_folder: Path, trials: int, rounds: int) -> Times:
    """Build and write the matrix so many times."""
    times = Times(trials, store_bytes=(store_folder / FILE_NAME).stat().st_size)
    with tempfile.TemporaryDirectory() as name:
        for _ in range(rounds):
            file = Path(name) / MATRIX_FILE
            began, began_processor = time.perf_counter(), time.process_time()
            with Store.open(store_folder) as store:
                matrix = build_matrix(store, _NOW)
                built = time.perf_counter()
                file.write_text(to_json(matrix), encoding="utf-8")
            ended = time.perf_counter()
            times.build.append(built - began)
            times.write.append(ended - built)
            times.together.append(ended - began)
            times.processor.append(time.process_time() - began_processor)
        times.matrix_bytes = file.stat().st_size
        began = time.perf_counter()
        with Store.open(store_folder) as store:
            matrix = build_matrix(store, _NOW)
            (folder := Path(name) / "whole").mkdir()
            times.cells = write_matrix(matrix, store, store_folder, folder).cells
        times.whole = time.perf_counter() - began
    return times


def row(times: Times) -> list[str]:
    """One line of the table."""
    low, high = min(times.together), max(times.together)
    return [
        f"{times.trials:,}",
        f"{times.cells:,}",
        f"{times.store_bytes / 1e6:,.0f}",
        f"{times.matrix_bytes / 1e6:,.1f}",
        significant(median(times.build)),
        significant(median(times.write)),
        f"{significant(median(times.together))} ({significant(low)} to {significant(high)})",
        significant(median(times.processor)),
        significant(times.whole),
        str(len(times.together)),
    ]


def main() -> None:
    """Make the stores, measure, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument(
        "--stores", type=Path, metavar="DIR", help="keep the stores here, and use those that are"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.stores or Path(temporary)
        found = []
        for trials in options.trials:
            folder = root / str(trials)
            if not (folder / FILE_NAME).exists():
                print(f"making a store of {trials:,} trials", file=sys.stderr)
                fill(folder, trials)
            found.append(measure(folder, trials, options.rounds))
    heads = (
        "trials", "cells", "store MB", "matrix.json MB", "build s", "write s", "together s",
        "processor s", "with all evidence s", "n",
    )  # fmt: skip
    print(markdown_table(heads, [row(times) for times in found], left=0))
    print(f"\nload average at the end: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
