"""How fast the writer of synthetic models is, against a plain write of the same bytes.

The plain write takes one buffer drawn beforehand and writes it, in pieces of the same size, until
as many bytes lie on the disk: what is left is the cost of making them. Both run in turn, each after
the other's files were removed, and both sync their files.

    python benchmarks/writer.py --model gemma-2b --size 1600 --rounds 5 --directory DIR
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from harness.errors import UserError
from harness.models import QUANTISATIONS, Architecture, find_model
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.tile import PIECE_BYTES
from harness.weights.writing import write, write_all

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where it exists, no disk is in the way


def sized(model: Architecture, options: OnnxRecipe, megabytes: float) -> Architecture:
    """`model` with as many layers as bring its artifact nearest to a size, at least one."""
    one = options.plan(replace(model, layers=1)).total_bytes
    two = options.plan(replace(model, layers=2)).total_bytes
    layers = 1 + round((megabytes * 1e6 - one) / (two - one))
    return replace(model, layers=max(1, layers))


def memory(field: str) -> int:
    """A field of this process's status in bytes: VmRSS now, VmHWM the highest so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"the system does not report {field}", "run this on Linux")


def plain_write(path: Path, total: int, buffer: memoryview) -> None:
    """Write `total` bytes, `buffer` again and again in pieces of the writer's size."""
    with path.open("xb", buffering=0) as file:
        offset = 0
        while total:
            piece = buffer[offset : offset + min(PIECE_BYTES, total)]
            write_all(file.fileno(), piece)
            total -= len(piece)
            offset = (offset + PIECE_BYTES) % len(buffer)
        os.fsync(file.fileno())


def main() -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="gemma-2b")
    parser.add_argument("--quantisation", choices=QUANTISATIONS, default="int4")
    parser.add_argument("--size", type=float, metavar="MB", help="default: the whole model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="default: shared memory, or the system's")
    arguments = parser.parse_args()
    options = OnnxRecipe(quantisation=arguments.quantisation)
    model = find_model(arguments.model)
    if arguments.size:
        model = sized(model, options, arguments.size)
    total = options.plan(model).total_bytes
    base = arguments.directory or (SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    scratch = Path(tempfile.mkdtemp(prefix="tierlab-writer-", dir=base))
    seconds: dict[str, list[float]] = {"writer": [], "plain write": []}
    memory_before = memory("VmRSS")
    memory_peak = 0
    try:
        for number in range(arguments.rounds):
            start = time.perf_counter()
            write(replace(options, seed=number).plan(model), scratch / "model")
            seconds["writer"].append(time.perf_counter() - start)
            shutil.rmtree(scratch / "model")
            if not number:  # before the plain write takes its buffer
                memory_peak = memory("VmHWM")
                drawn = np.random.default_rng(0).bytes(32 << 20)
            start = time.perf_counter()
            plain_write(scratch / "plain", total, memoryview(drawn))
            seconds["plain write"].append(time.perf_counter() - start)
            (scratch / "plain").unlink()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print_table(seconds, total)
    ratios = [a / b for a, b in zip(seconds["writer"], seconds["plain write"], strict=True)]
    print(
        f"{model.id}, {model.layers} layers, {arguments.quantisation}: {total / 1e6:.0f} MB in "
        f"{scratch.parent}; {platform.machine()}, {os.cpu_count()} CPUs\n"
        f"writer / plain write: median {statistics.median(ratios):.2f}, "
        f"{min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}\n"
        f"peak memory above the start: {(memory_peak - memory_before) / 1e6:.0f} MB"
    )
    return 0


def print_table(seconds: dict[str, list[float]], total: int) -> None:
    """One row for each contestant: GB/s, median and range."""
    table = Table("", "median s", "median GB/s", "lowest", "highest")
    for name, values in seconds.items():
        rates = sorted(total / value / 1e9 for value in values)
        table.add_row(
            name,
            f"{statistics.median(values):.2f}",
            *(f"{rate:.2f}" for rate in (statistics.median(rates), rates[0], rates[-1])),
        )
    Console().print(table)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
