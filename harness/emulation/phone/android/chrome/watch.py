"""One life of a Chromium, watched: its stderr, its processes, the kernel's counter of kills."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness.devices.processes import family
from harness.emulation.phone.android.chrome.inquest import Inquest
from harness.emulation.phone.android.chrome.processes import ProcessTable, proportional
from harness.emulation.phone.android.chrome.stderr import gpu_exit, log_line
from harness.emulation.phone.android.deaths import TOMBSTONES, ZYGOTE_PID, Cause, tell
from harness.emulation.phone.android.state import Process

if TYPE_CHECKING:
    from harness.emulation.phone.android.group import MemoryGroup
    from harness.emulation.phone.android.state import Package, State
    from harness.emulation.phone.command import Place

POLL_SECONDS: Final = 0.02
#: Every so many looks at the counter, one at the processes.
PROCESS_EVERY: Final = 5
#: Of one line of stderr; what is longer is cut into pieces.
LINE_BYTES: Final = 64 << 10


class ChromeWatch:
    """The watch over one browser process and its children.

    Args:
        package: whose browser it is.
        state: the phone, where everything is told.
        place: where the phone is on the host.
        group: counts memory kills.
        process: the browser's own process, its stderr a pipe.
    """

    def __init__(
        self,
        package: Package,
        state: State,
        place: Place,
        group: MemoryGroup,
        process: asyncio.subprocess.Process,
    ) -> None:
        self._package = package
        self._state = state
        self._place = place
        self._group = group
        self._process = process
        self._table = ProcessTable(package, process.pid)
        self._living: dict[int, Process] = {}
        # What is told of it even where it ends before it was looked at.
        self._main = Process(
            process.pid, package.name, package.uid, "browser", package.name, parent=ZYGOTE_PID
        )
        self._inquest = Inquest(group.claim)
        #: Why the browser is being ended on purpose; set before it is.
        self.stopping: Cause | None = None

    async def run(self) -> None:
        """Watch until the browser ends, then say how, and end what is left of it."""
        reading = asyncio.create_task(self._read_stderr())
        ended = asyncio.ensure_future(self._process.wait())
        looks = 0
        try:
            while not ended.done():
                if self._group.look() or looks % PROCESS_EVERY == 0:
                    self.look()
                self._tell_decided()
                looks += 1
                await asyncio.wait({ended}, timeout=POLL_SECONDS)
        finally:
            ended.cancel()
            self._tell_end()
            # A child that was just killed may hold the pipe open for a moment.
            await asyncio.wait({reading}, timeout=1.0)
            reading.cancel()

    def crashed(self, status: str, code: int) -> None:
        """The browser's own word on a renderer."""
        self._inquest.crash(status, code)

    def look(self) -> list[Process]:
        """See who lives; who does not any more is put before the inquest."""
        # The group may hold others' processes too, and a process whose parent is gone is no child
        # of the browser any more: both are looked at, and only this Chromium's own are kept.
        inside = self._group.pids() or set()
        pids = family(self._process.pid) | (self._living.keys() & inside)
        living = self._table.read(pids)
        for pid in self._living.keys() - living.keys():
            if pid != self._process.pid:
                self._inquest.dead(self._living[pid])
        self._living = living
        self._main = living.get(self._process.pid, self._main)
        return list(living.values())

    def processes(self) -> list[Process]:
        """Who lives, with fresh figures."""
        return [replace(item, pss=proportional(item.pid) or item.rss) for item in self.look()]

    def kill(self) -> None:
        """Kill all of them, the youngest first."""
        for item in sorted(self.look(), key=lambda item: -item.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(item.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _tell_decided(self) -> None:
        for item, cause in self._inquest.decided(self._group.limit, stopping=self.stopping):
            self._tell(item, cause)

    def _tell(self, item: Process, cause: Cause) -> None:
        if item.kind != "zygote":
            tell(self._state, item, cause, self._place.path(TOMBSTONES))

    def _tell_end(self) -> None:
        """The browser is gone: say how, and take its children with it."""
        self.look()
        limit, code = self._group.limit, self._process.returncode or 0
        cause = self._inquest.of_browser(code, limit, stopping=self.stopping)
        self._tell(self._main, cause)
        for child in self._living.values():
            if child.pid != self._process.pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child.pid, signal.SIGKILL)
                self._inquest.dead(child)
        self._living = {}
        for item, reason in self._inquest.rest(limit, stopping=self.stopping):
            self._tell(item, reason)

    async def _read_stderr(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        while True:
            try:
                data = await stderr.readuntil(b"\n")
            except asyncio.IncompleteReadError as error:
                data = error.partial
            except asyncio.LimitOverrunError as error:
                data = await stderr.read(error.consumed or LINE_BYTES)
            if not data:
                return
            self._take(data.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        if (code := gpu_exit(line)) is not None:
            self._inquest.gpu_exit(code)
        if said := log_line(line):
            self._state.log.write(
                said.priority,
                "chromium",
                said.text,
                pid=said.pid or self._process.pid,
                tid=said.tid,
                uid=self._package.uid,
            )
