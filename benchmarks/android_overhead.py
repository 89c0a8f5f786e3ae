"""What a trial costs more over adb: the same browser and load on this machine and on a phone.

The phone is a virtual one on the same machine, so that the browser's own speed is the same and the
difference is the way to it: adb, ports, flags, the log, the polls over the shell. Each way is a
whole session: a fresh browser, one load, and everything put back. Rounds are interleaved, in
alternating order. Three figures a round: until the page can be opened, the load itself, and what
is left after it.

    python benchmarks/android_overhead.py --model gemma-3-270m --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from harness.devices.android.device import AndroidDevice
from harness.devices.android.private import private_server
from harness.devices.desktop import DesktopDevice
from harness.emulation.phone.start import virtual_phone
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.models import Workload, find_model
from harness.profiles import load_profiles
from harness.runtimes.wllama import Wllama
from harness.trial import web_job
from harness.verdict import judge
from harness.web.server import Server, serve
from harness.weights.cache import ArtifactCache
from harness.weights.gguf.recipe import GgufRecipe
from results.record import Verdict

if TYPE_CHECKING:
    from harness.devices.base import Device

OUTPUT_TOKENS: Final = 8
QUANTISATION: Final = "q4_0"


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of one session."""

    start: float
    load: float
    end: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.start + self.load + self.end


def make_job(model: str, server: Server, threads: int) -> dict[str, Any]:
    """The job that both ways give to the trial page."""
    runtime = Wllama("wasm")
    artifact = ArtifactCache().ensure(find_model(model), GgufRecipe(quantisation=QUANTISATION))
    base = server.publish(artifact.key, artifact.directory)
    workload = Workload(artifact.model, QUANTISATION, runtime.id, 16, OUTPUT_TOKENS)
    return web_job(workload, runtime, artifact, base, threads)


async def run(device: Device, server: Server, job: dict[str, Any], folder: Path) -> Spent:
    """One session with one load."""
    timeline = Timeline()
    began = time.perf_counter()
    async with device.session(timeline, folder) as session:
        stands = time.perf_counter()
        await full_load(
            session,
            timeline,
            url=f"{server.url}/page/trial.html",
            job=job,
            deadlines=Deadlines(),
            screenshot=folder / "screenshot.png",
            progress=lambda _: None,
        )
        loaded = time.perf_counter()
    judged = judge(timeline.items)
    if judged.verdict is not Verdict.OK:
        raise SystemExit(f"the load failed: {judged.explanation}")
    return Spent(stands - began, loaded - stands, time.perf_counter() - loaded)


async def compare(model: str, rounds: int, threads: int, profile: str) -> None:
    """Interleave the two ways and print medians and their ratio."""
    profiles = load_profiles()
    spent: dict[str, list[Spent]] = {"desktop": [], "phone": []}
    with tempfile.TemporaryDirectory(prefix="tierlab-overhead-") as scratch:
        async with (
            serve() as server,
            private_server() as adb,
            virtual_phone(profiles[profile], work=Path(scratch, "phone")) as phone,
            DesktopDevice(profiles["desktop"]) as desktop,
        ):
            await adb.connect(phone.address)
            job = make_job(model, server, threads)
            async with AndroidDevice(profiles[profile], adb, adb.phone(phone.address)) as over_adb:
                ways: list[tuple[str, Device]] = [("desktop", desktop), ("phone", over_adb)]
                await run(desktop, server, job, Path(scratch, "warm"))  # the page cache
                for number in range(rounds):
                    for name, device in ways if number % 2 else reversed(ways):
                        folder = Path(scratch, f"{number}-{name}")
                        spent[name].append(await run(device, server, job, folder))
                    print(f"round {number + 1}: {told(spent, -1)}")
    print(f"{model}, {threads} threads, n={rounds}, load average {os.getloadavg()[0]:.1f}")
    for name, rows in spent.items():
        parts = ", ".join(
            f"{part} {median(getattr(row, part) for row in rows):.2f} s"
            for part in ("start", "load", "end", "total")
        )
        print(f"  {name}: {parts}")
    for part in ("load", "total"):
        ratios = [
            getattr(ours, part) / getattr(theirs, part)
            for ours, theirs in zip(spent["phone"], spent["desktop"], strict=True)
        ]
        print(
            f"  phone / desktop, {part}: median {median(ratios):.3f} "
            f"(from {min(ratios):.3f} to {max(ratios):.3f})"
        )


def told(spent: dict[str, list[Spent]], number: int) -> str:
    """One round in words."""
    return ", ".join(
        f"{name} {rows[number].start:.2f} + {rows[number].load:.2f} + {rows[number].end:.2f} s"
        for name, rows in spent.items()
    )


def main() -> None:
    """Parse the options and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(os.cpu_count() or 1, 4))
    parser.add_argument("--device", default="pixel7", help="profile; default: pixel7")
    options = parser.parse_args()
    asyncio.run(compare(options.model, options.rounds, options.threads, options.device))


if __name__ == "__main__":
    main()
