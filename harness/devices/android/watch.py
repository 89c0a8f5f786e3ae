"""What a phone tells while a trial runs: memory by process, temperature, battery.

Two polls: memory every second, from the kernel's own figures of each process (`/proc/PID/status`,
which adb's shell may read; peaks are the kernel's high-water marks, so they do not depend on the
rate), with `ps` where that is closed; and heat every five seconds. CDP and the log tell of deaths
by themselves: nothing is polled for them.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandTimeoutError
from harness.devices.android.evidence import role_of
from harness.devices.android.facts.battery import parse_battery
from harness.devices.android.facts.thermal import parse_thermal, status_name
from harness.devices.base import MemorySample
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from harness.devices.android.adb import Phone
    from harness.evidence import Timeline

MEMORY_POLL_SECONDS: Final = 1.0
# Every so many looks at the memory, processes are listed anew; `ps` reads all of the phone's.
LIST_EVERY: Final = 3
HEAT_POLL_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 5.0
CURVE_SAMPLES: Final = 20_000
MOST_PROCESSES: Final = 64
# USER_HZ of the kernel's ABI, which is 100 on all architectures of Android.
_TICKS: Final = 100.0
_KIB: Final = 1024

_PS_ROW: Final = re.compile(r"^\s*(?P<pid>\d{1,7})\s+(?P<rss>\d{1,12})\s+(?P<name>\S{1,300})\s*$")
# grep's output over several files: /proc/PID/status:VmRSS:   1234 kB
_STATUS: Final = re.compile(
    r"^/proc/(?P<pid>\d{1,7})/status:(?P<key>VmHWM|VmRSS|VmSwap):\s+(?P<kb>\d{1,12})\s*kB"
)
# proc_pid_stat(5): fields 14 and 15 after the name in brackets are user and system time.
_STAT: Final = re.compile(
    r"^/proc/(?P<pid>\d{1,7})/stat:\d+ \(.*\) \S(?: -?\d+){10}"
    r" (?P<user>\d{1,15}) (?P<system>\d{1,15}) "
)
# ActivityManager says a process's name when it starts it, before `ps` is asked.
_STARTED: Final = re.compile(r"^Start proc (?P<pid>\d{1,7}):(?P<name>[^\s/]{1,300})/")


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """One process: resident bytes now and at their highest, CPU seconds; `None` is not known."""

    pid: int
    name: str
    resident_bytes: int
    peak_bytes: int | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Heat:
    """How hot the phone was, `at_seconds` into the trial. `None` is not known."""

    at_seconds: float
    status: int | None
    hottest_celsius: float | None
    battery_celsius: float | None
    battery_percent: float | None
    powered: bool | None


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """What ends a trial: then the phone, and not the load, decides on the figures.

    Attributes:
        thermal_status: from this status on (4 is critical; see facts/thermal.py). Below it, every
            change is noted, and the trial goes on.
        battery_percent: below this, where nothing powers the phone.
    """

    thermal_status: int = 4
    battery_percent: float = 5.0


def parse_ps(text: str) -> list[ProcessFigures]:
    """Rows of `ps -A -o PID,RSS,NAME`. Never raises."""
    rows = (_PS_ROW.match(line) for line in text.splitlines())
    return [ProcessFigures(int(r["pid"]), r["name"], int(r["rss"]) * _KIB) for r in rows if r]


def parse_figures(text: str, names: dict[int, str]) -> list[ProcessFigures]:
    """What `FIGURES` printed of the processes in `names`; those that ended are left out."""
    sizes: dict[int, dict[str, int]] = {}
    seconds: dict[int, float] = {}
    for line in text.splitlines():
        if found := _STATUS.match(line):
            sizes.setdefault(int(found["pid"]), {})[found["key"]] = int(found["kb"]) * _KIB
        elif found := _STAT.match(line):
            ticks = int(found["user"]) + int(found["system"])
            seconds[int(found["pid"])] = ticks / _TICKS
    return [
        ProcessFigures(pid, names[pid], size["VmRSS"], size.get("VmHWM"), seconds.get(pid))
        for pid, size in sizes.items()
        if pid in names and "VmRSS" in size
    ]


def figures_command(pids: Iterable[int]) -> str:
    """One command for the figures of all processes."""
    files = " ".join(f"/proc/{pid}/status /proc/{pid}/stat" for pid in sorted(pids))
    return f"grep -sHE '^(VmHWM|VmRSS|VmSwap):|^[0-9]+ [(]' {files}"


class PhoneWatch:
    """The polls around one browser. `run()` until cancelled; the rest reads what it gathered.

    Args:
        phone: where it runs.
        packages: of the browser; see `role_of`.
        timeline: where evidence goes.
        limits: what ends a trial.
    """

    def __init__(
        self,
        phone: Phone,
        packages: Sequence[str],
        timeline: Timeline,
        limits: WatchLimits | None = None,
    ) -> None:
        self._phone = phone
        self._packages = packages
        self._timeline = timeline
        self._limits = limits or WatchLimits()
        self._names: dict[int, str] = {}
        self._living: dict[int, ProcessFigures] = {}
        self._known: dict[int, str] = {}
        self._peaks: dict[str, int] = {}
        self._cpu: dict[int, float] = {}
        self._looks = 0
        self._status: int | None = None
        self._warned = False
        self.curve: list[MemorySample] = []
        self.heat: list[Heat] = []

    def turn_to(self, timeline: Timeline) -> None:
        """Tell another timeline from now on; peaks and CPU time go on."""
        self._timeline = timeline

    async def run(self) -> None:
        """Poll until cancelled.

        Raises:
            TransportLostError: the phone is gone.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(MEMORY_POLL_SECONDS, self.look_at_processes))
            group.create_task(self._every(HEAT_POLL_SECONDS, self.look_at_heat))

    @staticmethod
    async def _every(seconds: float, look: Callable[[], Awaitable[None]]) -> None:
        while True:
            await look()
            await asyncio.sleep(seconds)

    def role_of_pid(self, pid: int) -> str:
        """The role of a process that lives or lived in this trial, "" for others."""
        return role_of(self._known.get(pid, ""), self._packages)

    def note_start(self, message: str) -> None:
        """Take a line of ActivityManager that may say that a process was started."""
        if (found := _STARTED.match(message)) and role_of(found["name"], self._packages):
            self._known[int(found["pid"])] = found["name"]

    def note_peak(self, role: str, size: int) -> None:
        """Take what another source says of a process's memory, such as lmkd when it killed it."""
        self._peaks[role] = max(self._peaks.get(role, 0), size)

    async def look_at_processes(self, anew: bool = False) -> None:
        """Sample memory and CPU time; `anew`: list the processes first.

        Raises:
            TransportLostError: the phone is gone.
        """
        rows: list[ProcessFigures] = []
        if anew or not self._names or self._looks % LIST_EVERY == 0:
            rows = await self._list()
        self._looks += 1
        figures = await self._figures() or rows
        if figures:
            self._keep(figures)

    async def _list(self) -> list[ProcessFigures]:
        text = await self._said("ps -A -o PID,RSS,NAME")
        rows = [row for row in parse_ps(text) if role_of(row.name, self._packages)]
        self._names = {row.pid: row.name for row in rows[:MOST_PROCESSES]}
        self._known |= self._names
        return rows[:MOST_PROCESSES]

    async def _figures(self) -> list[ProcessFigures]:
        if not self._names:
            return []
        text = await self._said(figures_command(self._names))
        return parse_figures(text, self._names)

    async def _said(self, command: str) -> str:
        try:
            return (await self._phone.run(command, within=COMMAND_SECONDS, check=False)).text
        except CommandTimeoutError:
            return ""  # short of memory, a phone may take long; the next look will tell

    def _keep(self, figures: list[ProcessFigures]) -> None:
        for gone in self._living.keys() - {item.pid for item in figures}:
            self._names.pop(gone, None)
        self._living = {item.pid: item for item in figures}
        largest: dict[str, int] = {}
        for item in figures:
            role = role_of(item.name, self._packages)
            largest[role] = max(largest.get(role, 0), item.resident_bytes)
            self.note_peak(role, max(item.resident_bytes, item.peak_bytes or 0))
            if item.cpu_seconds is not None:
                self._cpu[item.pid] = item.cpu_seconds
        if len(self.curve) < CURVE_SAMPLES:
            at = round(self._timeline.now(), 3)
            self.curve.append(MemorySample(at_seconds=at, processes=largest))

    async def look_at_heat(self) -> None:
        """Sample temperature and battery; a change of the thermal status is evidence.

        Raises:
            TransportLostError: the phone is gone.
        """
        thermal = parse_thermal(await self._said("dumpsys thermalservice"))
        battery = parse_battery(await self._said("dumpsys battery"))
        sensors = thermal.temperatures if thermal else ()
        heat = Heat(
            at_seconds=round(self._timeline.now(), 3),
            status=thermal.status if thermal else None,
            hottest_celsius=max((sensor.celsius for sensor in sensors), default=None),
            battery_celsius=battery.celsius if battery else None,
            battery_percent=battery.percent if battery else None,
            powered=bool(battery.sources) if battery and battery.sources is not None else None,
        )
        if len(self.heat) < CURVE_SAMPLES:
            self.heat.append(heat)
        self._judge(heat)

    def _judge(self, heat: Heat) -> None:
        status = heat.status
        if status is not None and status != self._status and (status or self._status):
            self._timeline.add(
                Source.THERMAL,
                Kind.THROTTLED,
                status=status,
                name=status_name(status),
                celsius=heat.hottest_celsius,
            )
        self._status = status if status is not None else self._status
        if self._warned:
            return
        reason = ""
        if status is not None and status >= self._limits.thermal_status:
            reason = f"the phone is too hot to measure: thermal status {status_name(status)}"
        elif (
            heat.battery_percent is not None
            and heat.battery_percent < self._limits.battery_percent
            and heat.powered is False
        ):
            reason = f"the battery is at {heat.battery_percent:g} %, and nothing powers the phone"
        if reason:
            self._warned = True
            self._timeline.add(Source.THERMAL, Kind.LAB_ERROR, message=reason)

    def peaks(self) -> dict[str, int]:
        """Peak bytes of the largest process of each kind."""
        return dict(self._peaks)

    def cpu_seconds(self) -> float | None:
        """CPU time of all processes at the last look, those that ended included."""
        return round(sum(self._cpu.values()), 3) if self._cpu else None
