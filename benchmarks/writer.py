"""How fast the writers of synthetic models are, against a plain write of the same bytes.

Every format, in each of its quantisations, in a process of its own, so that memory peaks do not
mix. The plain write takes one buffer drawn beforehand and writes it, in pieces of the same size,
until as many bytes lie on the disk: what is left is the cost of making them. Both run in turn, each
after the other's files were removed, and both sync their files. Planning is part of writing.

    python benchmarks/writer.py --size 1600 --rounds 5 --directory DIR
    python benchmarks/writer.py --format gguf --quantisation q4_k --size 0
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.markdown import markdown_table, ratio_of
from harness.errors import UserError, unknown
from harness.models import QUANTISATIONS, Architecture, find_model
from harness.weights.formats import FORMATS, WeightFormat, find_format
from harness.weights.tile import PIECE_BYTES
from harness.weights.writing import write, write_all

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - where it exists, no disk is in the way
BUFFER_BYTES: Final = 32 << 20
HEADS: Final = (
    "format",
    "weights",
    "MB",
    "writer GB/s",
    "lowest",
    "highest",
    "plain write GB/s",
    "writer / plain, in time",
    "peak MB above the start",
    "n",
)


@dataclass(frozen=True, slots=True)
class Task:
    """What one process writes."""

    form: str
    quantisation: str
    model: str
    megabytes: float
    rounds: int
    directory: Path


@dataclass(frozen=True, slots=True)
class Result:
    """Bytes and layers of the artifact, seconds of each round, and memory in bytes."""

    total: int
    layers: int
    writer: tuple[float, ...]
    plain: tuple[float, ...]
    peak_above_start: int


def sized(
    form: WeightFormat, quantisation: str, model: Architecture, megabytes: float
) -> Architecture:
    """`model` with as many layers as bring its artifact nearest to a size.

    The size of a layer is that of the last ones. Fewer layers than `global_every` would be another
    architecture.
    """
    if not megabytes:
        return model
    recipe = form.recipe(quantisation, 1)
    full = recipe.plan(model).total_bytes
    step = model.global_every
    fewer = recipe.plan(replace(model, layers=model.layers - step)).total_bytes
    if fewer == full:  # a file of one layer, whatever the model has
        return model
    steps = round((full - megabytes * 1e6) / (full - fewer))
    return replace(model, layers=max(model.layers - steps * step, step))


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


def measure(task: Task) -> Result | str:
    """Write in turn with the writer and plainly; or why this model is not written in that way."""
    form = find_format(task.form)
    try:
        model = sized(form, task.quantisation, find_model(task.model), task.megabytes)
        total = form.recipe(task.quantisation, 0).plan(model).total_bytes
    except UserError as error:
        return str(error.problem)
    scratch = Path(tempfile.mkdtemp(prefix="tierlab-writer-", dir=task.directory))
    writer: list[float] = []
    plain: list[float] = []
    before, peak = memory("VmRSS"), 0
    drawn = b""
    try:
        for number in range(task.rounds):
            start = time.perf_counter()
            write(form.recipe(task.quantisation, number).plan(model), scratch / "model")
            writer.append(time.perf_counter() - start)
            shutil.rmtree(scratch / "model")
            if not number:  # before the plain write takes its buffer
                peak = memory("VmHWM")
                drawn = np.random.default_rng(0).bytes(BUFFER_BYTES)
            start = time.perf_counter()
            plain_write(scratch / "plain", total, memoryview(drawn))
            plain.append(time.perf_counter() - start)
            (scratch / "plain").unlink()
    except UserError as error:
        return str(error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Result(total, model.layers, tuple(writer), tuple(plain), peak - before)


def in_own_process(task: Task) -> Result | str:
    """`measure` in a fresh process."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(measure, task).result()


def row(task: Task, result: Result | str) -> tuple[str, ...]:
    """The cells of one format, in the order of `HEADS`."""
    if isinstance(result, str):
        return (task.form, task.quantisation, f"not written: {result}", *[""] * (len(HEADS) - 3))
    rates = sorted(result.total / seconds / 1e9 for seconds in result.writer)
    plain = [result.total / seconds / 1e9 for seconds in result.plain]
    ratio = ratio_of(list(zip(result.writer, result.plain, strict=True)))
    return (
        task.form,
        task.quantisation,
        f"{result.total / 1e6:.0f}",
        *(f"{rate:.2f}" for rate in (median(rates), rates[0], rates[-1], median(plain))),
        f"{ratio:.2f}",
        f"{result.peak_above_start / 1e6:.0f}",
        str(len(result.writer)),
    )


def tasks_of(arguments: argparse.Namespace) -> list[Task]:
    """What was asked for: each format in each of its quantisations, or in those that were named.

    Raises:
        UserError: a name is unknown, or nothing is left.
    """
    find_model(arguments.model)
    for name in arguments.quantisation or ():
        if name not in QUANTISATIONS:
            raise unknown("quantisation", name, QUANTISATIONS)
    base = arguments.directory or (SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    directory = Path(base or tempfile.gettempdir())
    tasks = [
        Task(form.name, name, arguments.model, arguments.size, arguments.rounds, directory)
        for form in [find_format(name) for name in arguments.format or FORMATS]
        for name in form.quantisations
        if name in (arguments.quantisation or form.quantisations)
    ]
    if not tasks:
        raise UserError("none of these formats has such weights", "leave --quantisation out")
    return tasks


def main(argv: Sequence[str] | None = None) -> int:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--format", action="append", metavar="NAME", help="default: every one")
    parser.add_argument("--model", default="gemma-2b", help="default: %(default)s")
    parser.add_argument(
        "--quantisation", action="append", metavar="NAME", help="default: all of each format"
    )
    parser.add_argument(
        "--size",
        type=float,
        default=1600,
        metavar="MB",
        help="as many layers as come nearest; 0: the model as it is; default: %(default)s",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="default: shared memory, or the system's")
    arguments = parser.parse_args(argv)
    load = os.getloadavg()[0]
    tasks, rows = tasks_of(arguments), []
    for task in tasks:
        print(f"{task.form} {task.quantisation}", file=sys.stderr, flush=True)
        rows.append(row(task, in_own_process(task)))
    print(markdown_table(HEADS, rows, left=2))
    print(
        f"\n{arguments.model}, layers by size, to {tasks[0].directory}; {platform.machine()}, "
        f"{os.cpu_count()} CPUs, load average {load:.1f} before and {os.getloadavg()[0]:.1f} after"
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(str(error))
