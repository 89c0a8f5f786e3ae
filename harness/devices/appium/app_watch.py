"""Watches one app from outside while it is driven: is it alive, its memory, what the system says.

The app's main process holds the model: evidence calls it `engine`, as with any engine outside of a
browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError
from harness.devices.android.evidence import read_exit_record, read_log_line
from harness.devices.android.exit_info import new_records, parse_exit_info
from harness.devices.android.facts.memory import parse_process_memory
from harness.devices.android.logcat import Logcat
from harness.devices.android.watch import PhoneWatch
from harness.devices.base import MemorySample
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.android.adb import Phone
    from harness.devices.android.exit_info import ExitRecord
    from harness.devices.android.logcat import LogLine
    from harness.devices.android.watch import Heat
    from harness.evidence import Timeline

LOG: Final = "logcat.txt"
# A look at the process costs the phone a few ms; one at its memory, which adds up its pages, many.
LOOK_SECONDS: Final = 0.5
MEMORY_EVERY: Final = 4
SETTLE_SECONDS: Final = 4.0
_COMMAND_SECONDS: Final = 10.0
_LOG_SECONDS: Final = 2.0
_ROLES: Final = {"browser": "engine"}
# The kernel's start, and that of Android on it.
_BOOT: Final = "cat /proc/sys/kernel/random/boot_id; getprop ro.runtime.firstboot"
_STARTED: Final = re.compile(r"^Start proc (?P<pid>\d{1,7}):(?P<name>[^\s/]{1,300})/")
_TRANSPORT: Final = re.compile(r"\btransport_id:(\d{1,10})\b")


class AppWatch:
    """The watch over one app, while it is driven.

    Args:
        phone: where it runs.
        package: the app.
        timeline: where what is seen goes.
        folder: gets the log.
    """

    def __init__(self, phone: Phone, package: str, timeline: Timeline, folder: Path) -> None:
        self._phone = phone
        self._package = package
        self._timeline = timeline
        self._log = Logcat(phone, folder / LOG, self._on_line, self._on_log_lost)
        self._before: list[ExitRecord] = []
        self._pid: int | None = None
        self._resident = PhoneWatch(phone, [package], timeline)
        self._tasks: set[asyncio.Task[None]] = set()
        self._resting = False
        self._where = ("", "")
        self._pids: set[int] = set()
        self.curve: list[MemorySample] = []

    @property
    def peak_bytes(self) -> dict[str, int]:
        """The highest memory seen, by kind of process; empty where none was.

        The system's sum (`dumpsys meminfo`) has what the GPU holds as well; the kernel's mark of
        resident memory has what came between two looks. The higher one counts.
        """
        peaks = {_ROLES.get(kind, kind): size for kind, size in self._resident.peaks().items()}
        for sample in self.curve:
            for kind, size in sample.processes.items():
                peaks[kind] = max(peaks.get(kind, 0), size)
        return peaks

    @property
    def cpu_seconds(self) -> float | None:
        """CPU time of the app's processes so far."""
        return self._resident.cpu_seconds()

    @property
    def heat(self) -> list[Heat]:
        """How hot the phone was."""
        return self._resident.heat

    @property
    def peak_group_bytes(self) -> int | None:
        """The highest sum over all processes of the app."""
        return max((s.group_bytes for s in self.curve if s.group_bytes is not None), default=None)

    async def start(self) -> None:
        """Take down what was before, and begin to look and to read the log.

        The app must not be running yet.

        Raises:
            TransportLostError: the phone is gone.
        """
        self._before = await self._exit_records()
        self._where = await self._whereabouts()
        await self._log.start()
        self._spawn(self._look_on())
        self._spawn(self._look_at_the_phone())

    async def rest(self) -> None:
        """Look no more: from now on the end of the app is wanted, and no evidence."""
        self._resting = True
        for task in tuple(self._tasks):
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def stop(self) -> None:
        """End everything."""
        try:
            await self.rest()
        finally:
            await self._log.stop()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        self._tasks.add(asyncio.create_task(work))

    async def _look_on(self) -> None:
        looks = 0
        try:
            while await self._look():
                if looks % MEMORY_EVERY == 0:
                    await self._look_at_memory()
                looks += 1
                await asyncio.sleep(LOOK_SECONDS)
        except TransportLostError as error:
            self._on_lost(str(error))

    async def _look_at_the_phone(self) -> None:
        try:
            await self._resident.run()
        except* TransportLostError as group:
            self._on_lost(str(group.exceptions[0]))

    async def settle(self) -> None:
        """After the end: gather what the log and the system's records say. Bounded."""
        with contextlib.suppress(TimeoutError, TransportLostError):
            async with asyncio.timeout(SETTLE_SECONDS):
                if self._timeline.first(Kind.DONE) is None:
                    await self._is_the_same()
                await self._log.catch_up(within=_LOG_SECONDS)
                died = self._timeline.first(Kind.CHILD_GONE) is not None
                # A record is written when the system has buried the process.
                while not self._read_records(await self._exit_records()) and died:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> bool:
        """Whether the app is not known to be gone."""
        said = await self._run(["pidof", self._package])
        pids = [int(word) for word in said.split() if re.fullmatch(r"\d{1,9}", word)]
        self._pids.update(pids)
        if self._pid is None:
            self._pid = pids[0] if pids else None
            return True
        if self._pid in pids:
            return True
        if not await self._is_the_same():
            return False
        self._timeline.add(Source.ADB, Kind.CHILD_GONE, pid=self._pid, line="")
        return False

    async def _look_at_memory(self) -> None:
        processes = parse_process_memory(await self._run(["dumpsys", "meminfo", self._package]))
        main = [p.pss_bytes for p in processes if p.name == self._package and p.pss_bytes]
        rest = [p.pss_bytes for p in processes if p.name != self._package and p.pss_bytes]
        if main or rest:
            kinds = {"engine": max(main, default=0), "utility": max(rest, default=0)}
            self.curve.append(
                MemorySample(
                    at_seconds=round(self._timeline.now(), 3),
                    processes={kind: size for kind, size in kinds.items() if size},
                    group_bytes=sum(main) + sum(rest),
                )
            )

    async def _exit_records(self) -> list[ExitRecord]:
        return parse_exit_info(await self._run(["dumpsys", "activity", "exit-info", self._package]))

    def _read_records(self, records: list[ExitRecord]) -> bool:
        """Turn what is new into evidence; whether the app's own process is among it."""
        found = False
        for record in new_records(self._before, records):
            said = read_exit_record(record, [self._package])
            if said is not None:
                kind, detail = said
                self._timeline.add(Source.EXIT_INFO, kind, **_renamed(detail))
                found = found or record.pid in self._pids
        self._before = records
        return found

    async def _run(self, command: str | Sequence[str]) -> str:
        """What a command says; "" where it fails."""
        try:
            return (await self._phone.run(command, within=_COMMAND_SECONDS, check=False)).text
        except (CommandError, CommandTimeoutError):
            return ""

    def _on_line(self, line: LogLine) -> None:
        if line.tag == "ActivityManager":
            self._resident.note_start(line.message)
            self._note_start(line.message)
        said = read_log_line(line, [self._package], self._role_of)
        # An app that is about to be started is stopped first, which says nothing.
        if said is not None and self._pid is not None and not self._resting:
            kind, detail = said
            self._timeline.add(Source.LOGCAT, kind, **_renamed(detail))

    def _note_start(self, message: str) -> None:
        """Take the line that says that the app's own process was started."""
        found = _STARTED.match(message)
        if found is not None and found["name"] == self._package:
            self._pid = self._pid or int(found["pid"])
            self._pids.add(int(found["pid"]))

    def _on_log_lost(self, _: str) -> None:
        # A log that ends by itself on a phone that was there all the time is no loss.
        if not self._resting:
            self._spawn(self._ask_whether_it_is_the_same())

    async def _ask_whether_it_is_the_same(self) -> None:
        await self._is_the_same()

    async def _whereabouts(self) -> tuple[str, str]:
        """What changes with every start of the phone, and with every connection to it."""
        listed = await self._phone.adb.query("host:devices-l")
        mine = next((x for x in listed.splitlines() if x.split()[:1] == [self._phone.serial]), "")
        transport = _TRANSPORT.search(mine)
        return await self._run(_BOOT), transport[1] if transport else ""

    async def _is_the_same(self) -> bool:
        """Whether the phone never was away: with its connection Appium's ports are lost."""
        try:
            where = await self._whereabouts()
        except TransportLostError as error:
            self._on_lost(str(error))
            return False
        if where == self._where:
            return True
        restarted = where[0] != self._where[0]
        self._on_lost(
            "the phone restarted" if restarted else "the connection was lost, and is back"
        )
        return False

    def _on_lost(self, message: str) -> None:
        if self._timeline.first(Kind.TRANSPORT_LOST) is None:
            self._timeline.add(Source.ADB, Kind.TRANSPORT_LOST, message=message)

    def _role_of(self, pid: int) -> str:
        return "browser" if pid in self._pids else ""


@asynccontextmanager
async def watched(
    phone: Phone, package: str, timeline: Timeline, folder: Path
) -> AsyncIterator[AppWatch]:
    """Watch an app that is about to be started, while the block runs.

    Raises:
        TransportLostError: the phone is gone before it began.
    """
    watch = AppWatch(phone, package, timeline, folder)
    try:
        await watch.start()
        yield watch
    finally:
        await watch.stop()


def _renamed(detail: dict[str, JsonValue]) -> dict[str, JsonValue]:
    role = detail.get("process")
    return {**detail, "process": _ROLES.get(str(role), str(role))} if role else detail
