"""Random weights beside zeros: what the probe's kernels make of each.

Nothing is downloaded either way, so "zero-weight" could have meant weights of zeros. On some
processors products of zeros take less power, and so less time; a probe that measured them would
promise too much. Rounds are interleaved, in alternating order; the table is for README.md.

    python benchmarks/zeros.py --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.markdown import markdown_table, ratio_of, significant
from harness.devices.desktop import DesktopDevice
from harness.probe.run import run_probe
from harness.profiles import load_profiles, select
from harness.web.server import serve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.probe.report import Kernel, ProbeReport

Pairs = dict[tuple[str, str], list[tuple[float, float]]]
"""By side and kernel: seconds a unit with random weights, and with zeros."""


async def measure(classes: Sequence[str], rounds: int, budget: int) -> Pairs:
    """Probe every class with both, in turns."""
    pairs: Pairs = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for profile in select(load_profiles(), classes):
                backend: Literal["wasm", "webgpu"] = "webgpu" if "gpu" in profile.id else "wasm"
                found: dict[bool, dict[str, float]] = {}
                for zeros in (False, True) if number % 2 else (True, False):
                    place = Path(folder) / f"{number}-{profile.id}-{zeros}"
                    async with DesktopDevice(profile) as device, serve() as server:
                        report = await run_probe(
                            device, server, place,
                            budget_ms=budget, seed=1 + number, backends=(backend,), zeros=zeros,
                        )  # fmt: skip
                    found[zeros] = seconds(kernels_of(report, backend))
                for name in found[False].keys() & found[True].keys():
                    pairs[f"{profile.id}", name].append((found[False][name], found[True][name]))
    return pairs


def kernels_of(report: ProbeReport, backend: Literal["wasm", "webgpu"]) -> Mapping[str, Kernel]:
    """The kernels of one side, at one thread."""
    if backend == "webgpu":
        webgpu = report.backends.webgpu
        return webgpu.kernels if webgpu is not None and webgpu.available else {}
    wasm = report.backends.wasm
    return wasm.phase(1).kernels if wasm is not None and wasm.available else {}


def seconds(kernels: Mapping[str, Kernel]) -> dict[str, float]:
    """Seconds a byte, an operation of arithmetic, or a whole small operation."""
    found = {}
    for name, kernel in kernels.items():
        rate = kernel.bytes_per_s or kernel.flops_per_s
        if rate is not None and rate.median > 0:
            found[name] = 1 / rate.median
        elif kernel.op_us is not None:
            found[name] = kernel.op_us.median * 1e-6
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--classes", default="lab-1core,lab-gpu-soft-2core", help="default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--budget", type=int, default=3000, help="ms; default: %(default)s")
    options = parser.parse_args()
    classes = [word.strip() for word in options.classes.split(",")]
    pairs = asyncio.run(measure(classes, options.rounds, options.budget))
    rows = []
    for (device, kernel), timed in sorted(pairs.items()):
        ratios = [random / zeros for random, zeros in timed if zeros]
        rows.append(
            (
                device, kernel, significant(ratio_of(timed) or 0),
                significant(min(ratios)), significant(max(ratios)),
                f"{100 * (median(ratios) - 1):+.0f} %", str(len(timed)),
            )
        )  # fmt: skip
    heads = ("class", "kernel", "random / zeros, in time", "lowest", "highest", "slower by", "n")
    print(markdown_table(heads, rows, left=2))


if __name__ == "__main__":
    main()
