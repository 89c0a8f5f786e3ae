"""An app of which nothing is known but that it runs: a small real process under its name."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.deaths import (
    SYSTEM_SERVER_PID,
    TOMBSTONES,
    ZYGOTE_PID,
    Cause,
    Ended,
    ForceStopped,
    LowMemory,
    Signaled,
    tell,
)
from harness.emulation.phone.android.state import Process

if TYPE_CHECKING:
    from harness.emulation.phone.android.apps_base import Intent
    from harness.emulation.phone.android.group import MemoryGroup
    from harness.emulation.phone.android.state import Package, State
    from harness.emulation.phone.command import Place

_PROGRAM: Final = Path(__file__).parent / "app_process.py"
_STOP_SECONDS: Final = 5.0
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class PlainApp:
    """A package that runs as one process, which holds as much memory as it is told to.

    Args:
        package: as it is installed.
        state: the phone.
        place: where the phone is on the host.
        group: what limits the process.
    """

    def __init__(self, package: Package, state: State, place: Place, group: MemoryGroup) -> None:
        self._package = package
        self._state = state
        self._place = place
        self._group = group
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._stopping: Cause | None = None
        self._rss = 0

    @property
    def package(self) -> str:
        """See `App.package`."""
        return self._package.name

    @property
    def pid(self) -> int | None:
        """See `App.pid`."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def activity(self) -> str:
        """See `App.activity`."""
        return self._package.component or self.package

    async def start(self, intent: Intent) -> bool:
        """See `App.start`."""
        del intent
        if self.pid is not None:
            return False
        self._stopping = None
        self._process = process = await asyncio.create_subprocess_exec(
            *self._group.prefix,
            sys.executable,
            "-I",
            "-S",
            str(_PROGRAM),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._state.log.write(
            "I",
            "ActivityManager",
            f"Start proc {process.pid}:{self.package}/u0a{self._package.uid - 10_000} for "
            f"top-activity {{{self.activity}}}",
            pid=SYSTEM_SERVER_PID,
            buffer="system",
        )
        self._waiting = asyncio.create_task(self._wait(process))
        return True

    async def hold(self, size: int) -> bool:
        """Let the process hold that many bytes; False when it died of it."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return False
        with contextlib.suppress(ConnectionError):
            process.stdin.write(f"{size}\n".encode())
            await process.stdin.drain()
            return bool(await process.stdout.readline())
        return False

    async def _wait(self, process: asyncio.subprocess.Process) -> None:
        """Until the process ends; then say how."""
        ended = asyncio.ensure_future(process.wait())
        while not ended.done():
            self._rss = _resident(process.pid) or self._rss
            await asyncio.wait({ended}, timeout=0.1)
        code = process.returncode or 0
        cause: Cause
        if self._stopping is not None:
            cause = self._stopping
        elif code == -9 and self._group.claim():  # noqa: PLR2004 - SIGKILL
            cause = LowMemory(self._group.limit)
        else:
            cause = Signaled(-code) if code < 0 else Ended(code)
        tell(self._state, self._as_process(process.pid), cause, self._place.path(TOMBSTONES))
        if self._state.foreground == self.activity:
            self._state.foreground = None

    async def stop(self, *, by: int) -> None:
        """See `App.stop`."""
        process, self._process = self._process, None
        if process is None:
            return
        self._stopping = ForceStopped(by)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if self._waiting is not None:
            await asyncio.wait({self._waiting}, timeout=_STOP_SECONDS)

    async def clear(self) -> None:
        """See `App.clear`: it stores nothing."""

    def _as_process(self, pid: int) -> Process:
        return Process(
            pid=pid,
            name=self.package,
            uid=self._package.uid,
            kind="app",
            package=self.package,
            parent=ZYGOTE_PID,
            rss=self._rss,
            pss=self._rss,
        )

    def processes(self) -> list[Process]:
        """See `App.processes`."""
        if self.pid is None:
            return []
        self._rss = _resident(self.pid) or self._rss
        return [self._as_process(self.pid)]

    def signal(self, kind: str, number: int) -> int | None:
        """See `App.signal`."""
        if kind != "app" or self.pid is None:
            return None
        os.kill(self.pid, number)
        return self.pid

    def screen_changed(self) -> None:
        """See `App.screen_changed`."""

    async def screenshot(self) -> bytes | None:
        """See `App.screenshot`."""
        return None


def _resident(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return None
