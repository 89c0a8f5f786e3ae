"""How long the harness takes from a death on a phone to its verdict, and until it is noticed.

Five deaths on a virtual phone, each for real: SIGKILL of the page's renderer and of the browser, a
crash by DevTools' own command, an unplugged cable, and a renderer that outgrows the memory of the
phone. The first four are timed from the moment at which they are asked for; the last from the
moment at which the kernel's log says that it killed (/dev/kmsg, microseconds of the monotonic
clock; where it cannot be read, from lmkd's line). Every load is also judged: a wrong verdict is an
error.

Noticed is the first evidence that ends the load; judged is the end of the load, when the phone's
own words about the death (log, exit records) have been gathered.

    python benchmarks/android_death_latency.py --kills 20
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.table import Table

from benchmarks.death_latency import PAGE, kernel_kills
from harness.devices.android.device import AndroidDevice
from harness.devices.android.private import private_server
from harness.emulation.phone.start import VirtualPhone, virtual_phone
from harness.evidence import ENDINGS, Timeline
from harness.load import Deadlines, full_load
from harness.profiles import load_profiles
from harness.verdict import judge
from harness.web.server import Server, serve
from results.record import Kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from harness.devices.android.session import AndroidSession

    Attack = Callable[[VirtualPhone, AndroidSession], Awaitable[object]]

MEMORY: Final = 800 << 20
# The page's renderer is the largest one: it is the one that is killed.
BALLAST_MIB: Final = 64


@dataclass(frozen=True, slots=True)
class Death:
    """One way to die, and how it must be judged; without an attack the page does it itself."""

    name: str
    act: str
    cause: str
    attack: Attack | None = None


DEATHS: Final = (
    Death(
        "SIGKILL of the renderer",
        "wait",
        "killed",
        lambda phone, _: phone.control("kill", process="renderer", signal=9),
    ),
    Death(
        "crash of the renderer",
        "wait",
        "segfault",
        lambda phone, _: phone.control("kill", process="renderer", signal=11),
    ),
    Death(
        "SIGKILL of the browser",
        "wait",
        "killed",
        lambda phone, _: phone.control("kill", process="browser", signal=9),
    ),
    Death(
        "unplugged",
        "wait",
        "transport-lost",
        lambda phone, _: phone.control("unplug", seconds=0.5),
    ),
    Death("out of memory", "heap", "low-memory-killer"),
)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from a death until it was noticed, and until it could be judged."""

    noticed: float
    judged: float


async def die(
    device: AndroidDevice, phone: VirtualPhone, server: Server, death: Death, folder: Path
) -> Latency:
    """One death."""
    timeline = Timeline()
    died: list[float] = []
    tasks: list[asyncio.Future[None]] = []

    async with device.session(timeline, folder) as session:

        async def attack(act: Attack) -> None:
            await asyncio.sleep(0.2)  # not in step with the polls
            died.append(time.monotonic())
            await act(phone, session)

        def progress(words: str) -> None:
            # The engine says so when it is ready to die.
            if death.attack and not tasks and words.startswith("download: "):
                tasks.append(asyncio.ensure_future(attack(death.attack)))

        await full_load(
            session,
            timeline,
            url=f"{server.url}/page/trial.html",
            job={
                "workload": death.name,
                "adapter": "/deaths/deaths.js",
                "config": {"act": death.act, "phase": "download", "ballast": BALLAST_MIB},
                "prompt": [1],
                "outputTokens": 1,
                "source": {"kind": "network", "files": []},
            },
            deadlines=Deadlines(load_seconds=60),
            screenshot=folder / "screenshot.png",
            progress=progress,
        )
        ended = time.monotonic()
        await asyncio.gather(*tasks)
    judged = judge(timeline.items)
    if judged.cause != death.cause:
        raise SystemExit(f"{death.name}: judged {judged.cause}, not {death.cause}")
    at = died[0] if died else memory_kill(timeline, ended)
    first = next(item for item in timeline.items if item.kind in ENDINGS)
    return Latency(timeline.start + first.at_seconds - at, ended - at)


def memory_kill(timeline: Timeline, ended: float) -> float:
    """The monotonic time of the first kill for memory of this load."""
    known = [at for at in kernel_kills().values() if timeline.start < at < ended]
    if known:
        return min(known)
    seen = timeline.first(Kind.LMK_KILL)
    assert seen is not None
    return timeline.start + seen.at_seconds


async def measure(kills: int, profile: str) -> dict[str, list[Latency]]:
    """All deaths in turn, `kills` rounds of them."""
    latencies: dict[str, list[Latency]] = {death.name: [] for death in DEATHS}
    found = load_profiles()[profile]
    with tempfile.TemporaryDirectory(prefix="tierlab-deaths-") as scratch:
        async with (
            private_server() as adb,
            serve(extra={"/deaths/": PAGE}) as server,
            virtual_phone(found, work=Path(scratch, "phone"), memory_bytes=MEMORY) as phone,
        ):
            await adb.connect(phone.address)
            async with AndroidDevice(found, adb, adb.phone(phone.address)) as device:
                for number in range(kills):
                    for place, death in enumerate(DEATHS):
                        folder = Path(scratch, f"{number}-{place}")
                        latencies[death.name].append(
                            await die(device, phone, server, death, folder)
                        )
    return latencies


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each kind; default: 20")
    parser.add_argument("--device", default="pixel7", help="profile; default: pixel7")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    latencies = asyncio.run(measure(arguments.kills, arguments.device))
    clock = "the kernel's log" if kernel_kills() else "lmkd's line"
    table = Table(
        title=f"Seconds from a death on a virtual phone; out of memory: from {clock}; "
        f"{os.cpu_count()} cores, load average {load:.1f} before"
    )
    table.add_column("death", no_wrap=True)
    for column in ("n", "noticed", "p90", "max", "judged", "p90", "max"):
        table.add_column(column, justify="right")
    for name, values in latencies.items():
        noticed, judged = [v.noticed for v in values], [v.judged for v in values]
        table.add_row(name, str(len(values)), *figures(noticed), *figures(judged))
    Console().print(table)


def figures(values: list[float]) -> list[str]:
    """Median, 90th percentile and maximum."""
    p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return [f"{value:.3f}" for value in (median(values), p90, max(values))]


if __name__ == "__main__":
    main()
