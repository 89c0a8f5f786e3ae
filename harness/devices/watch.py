"""Watch a browser's processes, memory group and stderr, and tell the timeline what happens.

An engine outside of a browser is watched in the same way.

Three polls run beside the page: the kernel's count of memory kills (every 20 ms: it must be read
before the driver reports the death), the browser's stderr (every 50 ms) and the processes (every
200 ms; peaks come from the kernel's own high-water marks, so they do not depend on the rate).
"""

from __future__ import annotations

import asyncio
import codecs
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.base import MemorySample
from harness.devices.processes import ProcessSample, family, largest_by_kind, sample
from harness.evidence import read_stderr_line
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.emulation.limits import Scope
    from harness.evidence import Timeline

OOM_POLL_SECONDS: Final = 0.02
STDERR_POLL_SECONDS: Final = 0.05
PROCESS_POLL_SECONDS: Final = 0.2
CURVE_SAMPLES: Final = 20_000
# A line longer than this says nothing about a death: what is over is dropped.
LINE_CHARACTERS: Final = 1 << 16


def machine_oom_kills() -> int | None:
    """The kernel's machine-wide count of memory kills (`oom_kill` in proc_vmstat(5))."""
    try:
        text = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else None


class OomCounter:
    """Counts memory kills: in the browser's own group where there is one, else machine-wide.

    The machine-wide count is weaker evidence, since it may be somebody else's process; it is
    labelled so.
    """

    def __init__(self, scope: Scope | None) -> None:
        self._scope = scope
        self.name = f"{scope.limiter} oom_kill" if scope else "machine-wide oom_kill"
        self.source = Source.CGROUP if scope else Source.KERNEL
        self._seen = self._read()

    def _read(self) -> int:
        return self._scope.oom_kills() if self._scope else machine_oom_kills() or 0

    def new_kills(self) -> int:
        """Kills since the last call."""
        count = self._read()
        new, self._seen = count - self._seen, count
        return max(new, 0)


class StderrReader:
    """Reads what a browser appended to its stderr file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = ""
        # A look may end in the middle of a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new_lines(self) -> list[str]:
        """Complete lines that were not seen before."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(1 << 20)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, rest = (self._rest + self._decoder.decode(data)).split("\n")
        self._rest = rest[:LINE_CHARACTERS]
        return lines


class Watch:
    """The polls around one browser. `run()` until cancelled; the rest reads what it gathered."""

    def __init__(
        self,
        timeline: Timeline,
        root: Callable[[], int | None],
        scope: Scope | None,
        stderr: Path,
        *,
        kind: str | None = None,
    ) -> None:
        """`kind` is that of all processes; None: each is of the kind that its command line says."""
        self._timeline = timeline
        self._kind = kind
        self._root = root
        self._scope = scope
        self._oom = OomCounter(scope)
        self._stderr = StderrReader(stderr)
        self._living: dict[int, ProcessSample] = {}
        self._peaks: dict[str, int] = {}
        self._cpu: dict[int, float] = {}
        self.curve: list[MemorySample] = []

    def turn_to(self, timeline: Timeline) -> None:
        """Tell another timeline from now on; peaks and CPU time go on."""
        self._timeline = timeline

    async def run(self) -> None:
        """Poll until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(OOM_POLL_SECONDS, self.look_for_kills))
            group.create_task(self._every(STDERR_POLL_SECONDS, self.read_stderr))
            group.create_task(self._every(PROCESS_POLL_SECONDS, self.look_at_processes))

    @staticmethod
    async def _every(seconds: float, look: Callable[[], object]) -> None:
        while True:
            look()
            await asyncio.sleep(seconds)

    def look_for_kills(self) -> None:
        """Read the kernel's counter; a rise is evidence at once."""
        if self._read_kills():
            self.look_at_processes()

    def _read_kills(self) -> int:
        if kills := self._oom.new_kills():
            self._timeline.add(self._oom.source, Kind.OOM_KILL, kills=kills, counter=self._oom.name)
        return kills

    def read_stderr(self) -> None:
        """Read what the browser said of its own death."""
        for line in self._stderr.new_lines():
            if found := read_stderr_line(line):
                kind, detail = found
                self._timeline.add(Source.STDERR, kind, **detail)

    def pids(self) -> set[int]:
        """All processes of the browser."""
        if self._scope:
            return self._scope.pids()
        root = self._root()
        return family(root) if root else set()

    def look_at_processes(self) -> None:
        """Sample memory and CPU time, and notice processes that are gone."""
        samples = sample(self.pids())
        if self._kind:
            samples = [replace(item, kind=self._kind) for item in samples]
        living = {item.pid: item for item in samples}
        ended = self._living.keys() - living.keys()
        if ended:
            # The kernel counts a kill before it sends the signal: read now, the counter comes
            # before every process exit that it explains.
            self._read_kills()
        for pid in sorted(ended):
            gone = self._living[pid]
            if gone.kind in {"renderer", "gpu", "browser", "engine"}:
                self._timeline.add(
                    Source.PROCESS,
                    Kind.PROCESS_EXIT,
                    process=gone.kind,
                    pid=pid,
                    last_resident_bytes=gone.resident_bytes,
                )
        self._living = living
        for item in samples:
            self._cpu[item.pid] = item.cpu_seconds
        for kind, size in largest_by_kind(samples, peak=True).items():
            self._peaks[kind] = max(self._peaks.get(kind, 0), size)
        if samples and len(self.curve) < CURVE_SAMPLES:
            self.curve.append(
                MemorySample(
                    at_seconds=round(self._timeline.now(), 3),
                    processes=largest_by_kind(samples),
                    group_bytes=self._scope.memory().current if self._scope else None,
                )
            )

    def peaks(self) -> tuple[dict[str, int], int | None]:
        """Peak bytes of the largest process of each kind, and of the group."""
        return dict(self._peaks), self._scope.memory().peak if self._scope else None

    def cpu_seconds(self) -> float:
        """CPU time of all processes, those that ended included."""
        if self._scope:
            return self._scope.cpu_seconds()
        self.look_at_processes()
        return sum(self._cpu.values())

    def throttled_seconds(self) -> float | None:
        """Time for which the CPU limit held the group back."""
        return self._scope.throttled_seconds() if self._scope else None


def load_average() -> float | None:
    """The host's 1-minute load average."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
