"""The lines of one trial from a phone's log, kept as a file, and read as they come.

Format: AOSP system/logging, liblog/logprint.cpp, FORMAT_THREADTIME:
`11-26 08:51:33.123  1500  1507 I ActivityManager: message`. Some phones print the user in front of
the numbers, others the year or seconds since 1970; a line that is none of these is kept in the
file and says nothing.

A mark is written into the log where the trial begins (`log -t tierlab TOKEN`); what the buffer
held before is dropped. A mark is also how to know that everything before it has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import CommandError, CommandTimeoutError, TransportLostError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.android.adb import Phone

# events: am_proc_died, killinfo; crash: tombstones. The kernel's buffer is not the shell's to read.
BUFFERS: Final = "main,system,crash,events"
COMMAND: Final = ("logcat", "-b", BUFFERS, "-v", "threadtime", "-T", "1")
TAG: Final = "tierlab"
MARK_SECONDS: Final = 5.0
REMARK_SECONDS: Final = 1.0
# A phone writes 0.1 to 1 MB a minute; more than this is a loop, and its end is what matters less.
LARGEST_FILE: Final = 64 << 20
LONGEST_MESSAGE: Final = 4000

_LINE: Final = re.compile(
    r"^(?P<time>(?:\d{4}-)?\d{2}-\d{2} \d{2}:\d{2}:\d{2}[.,]\d{3,9}(?: [+-]\d{4})?"
    r"|\d{9,11}\.\d{3,9})"
    r"\s+(?:(?P<user>[A-Za-z][\w.]{0,40})\s+)?(?P<pid>\d{1,7})\s+(?P<tid>\d{1,7})"
    r"\s+(?P<priority>[VDIWEFS])\s(?P<tag>[^\n]{0,120}?)\s*: ?(?P<message>.*)$",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log. `time` is the phone's own, as printed."""

    time: str
    pid: int
    tid: int
    priority: str
    tag: str
    message: str

    def __str__(self) -> str:
        return f"{self.priority} {self.tag}: {self.message}"


def parse_line(text: str) -> LogLine | None:
    """One line in threadtime format; `None` for a separator or anything else. Never raises."""
    found = _LINE.match(text[: LONGEST_MESSAGE + 256].rstrip("\r\n"))
    if found is None:
        return None
    return LogLine(
        time=found["time"],
        pid=int(found["pid"]),
        tid=int(found["tid"]),
        priority=found["priority"],
        tag=found["tag"].strip(),
        message=found["message"][:LONGEST_MESSAGE],
    )


class Logcat:
    """Collects the log of one trial.

    Args:
        phone: whose log.
        path: where its lines are kept.
        on_line: told of every line of the trial, as it comes.
        on_lost: told once when the stream ends by itself, with the reason.
    """

    def __init__(
        self,
        phone: Phone,
        path: Path,
        on_line: Callable[[LogLine], None],
        on_lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._phone = phone
        self._path = path
        self._on_line = on_line
        self._on_lost = on_lost
        self._begin = f"begin-{secrets.token_hex(8)}"
        self._marks: dict[str, asyncio.Event] = {self._begin: asyncio.Event()}
        self._running = False
        self._reader: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether lines of this trial are being collected: the stream stands, its mark was seen."""
        return self._running and self._marks[self._begin].is_set()

    async def start(self) -> None:
        """Begin to collect; returns when the mark of the beginning came back.

        A phone whose log cannot be read, or not be marked, is used without it: `running` says so.

        Raises:
            TransportLostError: the phone is gone.
        """
        self._running = True
        self._reader = asyncio.create_task(self._read())
        end = asyncio.get_running_loop().time() + MARK_SECONDS
        # A mark that was written before the stream stood may not be in it.
        while not await self._mark(self._begin, within=REMARK_SECONDS):
            if not self._running or asyncio.get_running_loop().time() > end:
                await self.stop()
                return

    async def stop(self) -> None:
        """End the stream. Never raises."""
        self._running = False
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader

    async def catch_up(self, *, within: float) -> bool:
        """Wait until what was logged before this call has been read; whether it came in time.

        Raises:
            TransportLostError: the phone is gone.
        """
        if not self.running:
            return False
        token = f"mark-{secrets.token_hex(8)}"
        self._marks[token] = asyncio.Event()
        try:
            return await self._mark(token, within=within)
        finally:
            del self._marks[token]

    async def _mark(self, token: str, *, within: float) -> bool:
        try:
            async with asyncio.timeout(within):
                await self._phone.run(["log", "-t", TAG, token], within=within)
                await self._marks[token].wait()
        except (TimeoutError, CommandTimeoutError, CommandError):
            return False
        return self._running

    async def _read(self) -> None:
        reason = "the log ended"
        written = 0
        try:
            with self._path.open("w", encoding="utf-8") as file:
                async with contextlib.aclosing(self._phone.lines(COMMAND)) as lines:
                    async for text in lines:
                        line = parse_line(text)
                        if line is not None and line.tag == TAG and self._see(line):
                            continue
                        if not self._marks[self._begin].is_set():
                            continue
                        if written < LARGEST_FILE:
                            written += file.write(f"{text}\n")
                            file.flush()
                        if line is not None:
                            self._on_line(line)
        except (CommandError, TransportLostError) as error:
            reason = str(error)
        finally:
            lost, self._running = self._running, False
            for mark in self._marks.values():
                mark.set()  # whoever waits looks at `running`
        if lost:
            self._on_lost(reason)

    def _see(self, line: LogLine) -> bool:
        """Whether a line is one of this collector's marks."""
        mark = self._marks.get(line.message.strip())
        if mark is None:
            return False
        mark.set()
        return True
