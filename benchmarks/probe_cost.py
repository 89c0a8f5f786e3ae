"""What the probe costs, beside the full loads that it stands for.

Time, bytes over the network and memory of a probe, on several classes of stand-ins; and from the
records of trials, how many times more a full load took. A load here comes over loopback, so its
bytes cost next to nothing: the seconds that they take at --megabits are told apart. Goals: 100
times cheaper in time, 10,000 times in bytes. Rounds are interleaved; the table is for README.md.

    python benchmarks/probe_cost.py --trials benchmarks/trials/lab.jsonl
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, Literal

from aiohttp import web

from benchmarks.markdown import markdown_table, significant
from harness.devices.desktop import DesktopDevice
from harness.evidence import Timeline
from harness.probe.run import run_probe
from harness.profiles import load_profiles, select
from harness.runtimes import find_runtime
from harness.web.server import HARNESS, LOOPBACK, Server, make_app
from results.record import Record, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from harness.devices.desktop_session import DesktopSession
    from harness.probe.report import ProbeReport

    Backend = Literal["wasm", "webgpu"]

CLASSES: Final = (
    "lab-2core", "lab-1core", "lab-quota-1", "lab-half", "lab-2core-1.5g",
    "lab-gpu-soft-2core", "lab-gpu-soft-1core",
)  # fmt: skip
# The processes that hold what a page allocates.
PAGE: Final = ("renderer", "gpu")


class Counts:
    """Bytes that the server sent, headers included, by path."""

    def __init__(self) -> None:
        self.bytes: Counter[str] = Counter()

    async def note(self, request: web.Request, response: web.StreamResponse) -> None:
        """Called when the headers of a response are ready."""
        headers = sum(len(k) + len(v) + len(": \r\n") for k, v in response.headers.items())
        self.bytes[request.path] += headers + (response.content_length or 0)

    def of_the_probe(self) -> int:
        """Bytes below the probe's own path: the rest is the harness's page."""
        return sum(size for path, size in self.bytes.items() if path.startswith("/probe/"))

    def compressed(self) -> int:
        """What the probe's files are as most servers send them, without headers."""
        return sum(
            len(gzip.compress((HARNESS / path.removeprefix("/")).read_bytes()))
            for path in self.bytes
            if path.startswith("/probe/")
        )


@asynccontextmanager
async def counting_server() -> AsyncIterator[tuple[Server, Counts]]:
    """The harness's server, and what it sent."""
    counts, artifacts = Counts(), dict[str, Path]()
    app = make_app(artifacts)
    app.on_response_prepare.append(counts.note)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOOPBACK, 0)
        await site.start()
        port = runner.addresses[0][1]
        yield Server(url=f"http://{LOOPBACK}:{port}", artifacts=artifacts), counts
    finally:
        await runner.cleanup()


class WatchedDevice(DesktopDevice):
    """A device that keeps the peak memory of its last session's page, in bytes."""

    page_peak = 0

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[DesktopSession]:
        """See `Device.session`."""
        async with super().session(timeline, folder, persistent=persistent) as session:
            yield session
            processes, _ = session.peak_memory()
            self.page_peak = sum(processes.get(kind, 0) for kind in PAGE)


@dataclass(frozen=True, slots=True)
class Cost:
    """One probe: seconds, bytes.

    Attributes:
        wall: from the start of a browser to the report.
        total: as the report has it, in the page.
        settle: waiting for quiet.
        measure: measuring.
        sent: bytes over the network.
        compressed: the same as most servers send them.
        peak: of the page's processes.
        above_empty: of these, what an empty page does not take.
    """

    wall: float
    total: float
    settle: float
    measure: float
    sent: int
    compressed: int
    peak: int
    above_empty: int


def times(report: ProbeReport) -> tuple[float, float]:
    """Seconds of settling and of measuring, as far as a report tells them apart."""
    sides = [
        side
        for side in (report.backends.wasm, report.backends.webgpu)
        if side is not None and side.available
    ]
    settles = [report.settle] if report.settle else [side.settle for side in sides]
    settle = sum(one.wall_ms for one in settles if one is not None)
    if report.measure_ms is not None:
        return settle / 1000, report.measure_ms / 1000
    wall = sum(side.wall_ms if side.measure_ms is None else side.measure_ms for side in sides)
    return settle / 1000, wall / 1000


async def one_probe(
    device: WatchedDevice, backend: Backend, folder: Path, budget: int
) -> Cost | str:
    """Probe once, beside an empty page of the same browser; why nothing was measured, if so."""
    async with counting_server() as (server, counts):
        async with device.session(Timeline(), folder / "empty") as session:
            await session.open_tab(f"{server.url}/page/trial.html", lambda _: None)
            await device.rest()
        empty = device.page_peak
        await device.rest()
        counts.bytes.clear()
        began = time.perf_counter()
        report = await run_probe(
            device, server, folder / "probe", budget_ms=budget, seed=1, backends=(backend,)
        )
        wall = time.perf_counter() - began
    side = report.backends.webgpu if backend == "webgpu" else report.backends.wasm
    if side is None or not side.available:
        return side.reason if side is not None and side.reason else "not measured"
    settle, measure = times(report)
    return Cost(
        wall=wall,
        total=report.total_ms / 1000,
        settle=settle,
        measure=measure,
        sent=counts.of_the_probe(),
        compressed=counts.compressed(),
        peak=device.page_peak,
        above_empty=max(0, device.page_peak - empty),
    )


async def measure(classes: Sequence[str], rounds: int, budget: int) -> dict[str, list[Cost]]:
    """Probe every class in turns."""
    found: dict[str, list[Cost]] = defaultdict(list)
    profiles = select(load_profiles(), classes)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds):
            for profile in profiles:
                async with WatchedDevice(profile) as device:
                    place = Path(folder) / f"{number}-{profile.id}"
                    cost = await one_probe(device, backend_of(profile.id), place, budget)
                if isinstance(cost, str):
                    print(f"{profile.id}: nothing was measured: {cost}", file=sys.stderr)
                else:
                    found[profile.id].append(cost)
    return found


def backend_of(device: str) -> Backend:
    """The side of the probe that a class is for."""
    return "webgpu" if "gpu" in device else "wasm"


@dataclass(frozen=True, slots=True)
class Load:
    """One full load that ended well: the side of the probe, seconds, bytes, peak bytes."""

    device: str
    backend: Backend
    seconds: float
    loaded: int
    peak: int


def loads(records: Iterable[Record]) -> list[Load]:
    """The good loads among records."""
    return [
        Load(
            r.device.profile,
            "webgpu" if find_runtime(r.workload.runtime).backend == "webgpu" else "wasm",
            r.measurement.wall_seconds,
            r.artifact.total_bytes,
            r.measurement.memory.engine_bytes,
        )
        for r in records
        if r.verdict is Verdict.OK and r.measurement is not None and r.artifact is not None
    ]


def read_records(path: Path) -> list[Record]:
    """Records, one a line."""
    with path.open(encoding="utf-8") as lines:
        return [Record.model_validate_json(line) for line in lines if line.strip()]


def spread(values: Sequence[float], scale: float = 1.0) -> str:
    """The median, and the lowest and highest where there are several."""
    middle = significant(median(values) / scale)
    if len(values) == 1:
        return middle
    return f"{middle} ({significant(min(values) / scale)} to {significant(max(values) / scale)})"


def cost_table(found: dict[str, list[Cost]]) -> str:
    """A row a class."""
    heads = (
        "class", "side", "browser to report s", "probe s", "of it settling s", "of it measuring s",
        "network kB", "compressed kB", "page peak MB", "above an empty page MB", "n",
    )  # fmt: skip
    rows = [
        (
            device,
            backend_of(device),
            spread([c.wall for c in costs]),
            spread([c.total for c in costs]),
            spread([c.settle for c in costs]),
            spread([c.measure for c in costs]),
            significant(median(c.sent for c in costs) / 1e3),
            significant(median(c.compressed for c in costs) / 1e3),
            significant(median(c.peak for c in costs) / 1e6),
            significant(median(c.above_empty for c in costs) / 1e6),
            str(len(costs)),
        )
        for device, costs in found.items()
    ]
    return markdown_table(heads, rows, left=2)


def ratio_table(found: dict[str, list[Cost]], known: Sequence[Load], megabits: float) -> str:
    """How many times more the full loads of a class took than its probe."""
    heads = (
        "class", "loads", "full load s", f"with the download at {megabits:g} Mbit/s s",
        "full load GB", "load / probe, time", "with the download", "bytes", "compressed",
        "peak memory",
    )  # fmt: skip
    rows = []
    for device, costs in found.items():
        mine = [x for x in known if (x.device, x.backend) == (device, backend_of(device))]
        if not mine:
            continue
        seconds = [x.seconds for x in mine]
        slow = [x.seconds + x.loaded * 8 / (megabits * 1e6) for x in mine]
        sizes = [float(x.loaded) for x in mine]
        probe = median(c.total for c in costs)
        rows.append(
            (
                device,
                str(len(mine)),
                spread(seconds),
                spread(slow),
                spread(sizes, 1e9),
                spread(seconds, probe),
                spread(slow, probe),
                spread(sizes, median(c.sent for c in costs)),
                spread(sizes, median(c.compressed for c in costs)),
                spread([x.peak for x in mine], median(c.peak for c in costs)),
            )
        )
    return markdown_table(heads, rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--classes", default=",".join(CLASSES), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--budget", type=int, default=1200, help="ms; default: %(default)s")
    parser.add_argument("--trials", type=Path, help="records of full loads, one a line")
    parser.add_argument(
        "--megabits", type=float, default=50.0,
        help="of the network that a user is thought to have; default: %(default)g",
    )  # fmt: skip
    options = parser.parse_args()
    classes = [word.strip() for word in options.classes.split(",")]
    found = asyncio.run(measure(classes, options.rounds, options.budget))
    print(cost_table(found))
    if options.trials:
        print()
        print(ratio_table(found, loads(read_records(options.trials)), options.megabits))


if __name__ == "__main__":
    main()
