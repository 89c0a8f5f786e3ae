"""How long the harness takes from a death to its verdict: from the kill to the end of the load.

Four deaths, each for real: SIGKILL of the renderer, of the GPU process (which holds a WebGPU device
in software) and of the browser, timed from the kill; and a renderer that outgrows a memory limit,
timed from the moment at which the kernel's log says that it killed (/dev/kmsg, microseconds of the
monotonic clock; where it cannot be read, from the rise of the group's counter as it was seen).
Every load is also judged: a wrong verdict is an error. Goal: at most 1 s.

    python benchmarks/death_latency.py --kills 20
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from harness.devices.desktop import DesktopDevice
from harness.devices.processes import family, sample
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.profiles import Profile
from harness.verdict import judge
from harness.web.server import Server, serve
from results.record import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE: Final = Path(__file__).parent.parent / "tests" / "harness" / "data"
KERNEL_LOG: Final = Path("/dev/kmsg")
SWIFTSHADER: Final = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)


@dataclass(frozen=True, slots=True)
class Death:
    """One way to die, and how it must be judged; without a `victim` the page does it itself."""

    name: str
    victim: str
    act: str
    cause: str
    args: tuple[str, ...] = ()
    memory: str | None = None


DEATHS: Final = (
    Death("SIGKILL of the renderer", "renderer", "wait", "killed"),
    Death("SIGKILL of the GPU process", "gpu", "hold", "gpu-lost", SWIFTSHADER),
    Death("SIGKILL of the browser", "browser", "wait", "browser-gone"),
    Death("out of memory in a cgroup", "", "touch", "kernel-oom", memory="450MiB"),
)


def profile(death: Death) -> Profile:
    """The profile of a device on which that death can be died."""
    limits = {"memory": death.memory} if death.memory else {}
    browser = {"channels": ["chromium", "chrome", "msedge"], "args": death.args}
    return Profile.model_validate(
        {
            "id": "latency",
            "name": death.name,
            "kind": "desktop",
            "browser": browser,
            "limits": limits,
        }
    )


def kernel_kills() -> dict[int, float]:
    """When the kernel killed for memory: seconds of the monotonic clock by process number."""
    kills: dict[int, float] = {}
    try:
        log = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return kills
    try:
        while True:
            try:
                line = os.read(log, 8192).decode(errors="replace")
            except BlockingIOError:
                return kills
            except BrokenPipeError:  # overwritten while it was read: the next one is there
                continue
            if found := re.search(r"Killed process (\d+)", line):
                kills[int(found.group(1))] = int(line.split(",")[2]) / 1e6
    finally:
        os.close(log)


async def die(device: DesktopDevice, server: Server, death: Death, folder: Path) -> float:
    """Seconds from one kill to the end of `full_load`."""
    timeline = Timeline()
    killed: list[float] = []
    tasks: list[asyncio.Task[None]] = []

    async def kill(pids: Callable[[], set[int]]) -> None:
        await asyncio.sleep(0.2)  # not in step with the polls
        victims = [item.pid for item in sample(pids()) if item.kind == death.victim]
        killed.append(time.monotonic())
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    async with device.session(timeline, folder) as session:

        def progress(words: str) -> None:
            # The engine says so when it is ready to die.
            if death.victim and not tasks and words.startswith("download: "):
                root = int((folder / "browser.pid").read_text("ascii"))
                tasks.append(asyncio.ensure_future(kill(lambda: family(root))))

        await full_load(
            session,
            timeline,
            url=f"{server.url}/page/trial.html",
            job={
                "workload": death.name,
                "adapter": "/deaths/deaths.js",
                "config": {"act": death.act, "phase": "download"},
                "prompt": [1],
                "outputTokens": 1,
            },
            deadlines=Deadlines(load_seconds=30),
            screenshot=folder / "screenshot.png",
            progress=progress,
        )
        ended = time.monotonic()
        await asyncio.gather(*tasks)
    judged = judge(timeline.items)
    if judged.cause != death.cause:
        raise SystemExit(f"{death.name}: judged {judged.cause}, not {death.cause}")
    return ended - (killed[0] if killed else memory_kill(timeline))


def memory_kill(timeline: Timeline) -> float:
    """The monotonic time of the kill for memory of this load."""
    ends = [int(i.text("pid")) for i in timeline.items if i.kind is Kind.PROCESS_EXIT]
    log = kernel_kills()
    known = [log[pid] for pid in ends if log.get(pid, 0) > timeline.start]
    if known:
        return min(known)
    seen = timeline.first(Kind.OOM_KILL)
    assert seen is not None
    return timeline.start + seen.at_seconds


async def measure(kills: int) -> dict[str, list[float]]:
    """All deaths in turn, `kills` rounds of them."""
    seconds: dict[str, list[float]] = {death.name: [] for death in DEATHS}
    with tempfile.TemporaryDirectory(prefix="tierlab-deaths-") as scratch:
        async with serve(extra={"/deaths/": PAGE}) as server:
            for number in range(kills):
                for death in DEATHS:
                    folder = Path(scratch, f"{number}-{death.victim}")
                    async with DesktopDevice(profile(death)) as device:
                        seconds[death.name].append(await die(device, server, death, folder))
    return seconds


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each kind; default: 20")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    seconds = asyncio.run(measure(arguments.kills))
    clock = "the kernel's log" if kernel_kills() else "the rise of the group's counter"
    table = Table(
        title=f"Seconds from the kill to the end of the load; out of memory: from {clock}; "
        f"{os.cpu_count()} cores, load average {load:.1f} before"
    )
    for column in ("death", "n", "median", "p90", "max"):
        table.add_column(column, justify="left" if column == "death" else "right")
    for name, values in seconds.items():
        p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
        figures = (f"{value:.3f}" for value in (median(values), p90, max(values)))
        table.add_row(name, str(len(values)), *figures)
    Console().print(table)


if __name__ == "__main__":
    main()
