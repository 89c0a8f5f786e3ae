"""An engine outside of a browser: a process of its own, limited and watched like a browser.

The process gets its job as one line of JSON on stdin and says what happens as lines of JSON on
stdout, in the words of the trial page. Its stdin stays open: the end of it tells the process that
its owner is gone (see `harness.engines.loop`). What it says is as untrusted as what a page says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from harness.devices.processes import handles, kill_all
from harness.devices.watch import Watch
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.base import MemorySample, OnEvent
    from harness.emulation.limits import Scope
    from harness.evidence import Timeline

PROCESS_KIND: Final = "engine"
CLOSE_SECONDS: Final = 10
# A line is an event of a few hundred bytes, or an error whose texts the process cuts to 4000.
LINE_BYTES: Final = 1 << 20
# What a process says last before it ends on purpose: after that its end is no evidence.
_LAST_WORDS: Final = (Kind.ARTIFACT_REFUSED, Kind.DONE, Kind.ENGINE_ERROR, Kind.UNSUPPORTED)
# The exit code of a process that could not join its group; see `Scope.prefix`.
_NOT_JOINED: Final = 125


class ChildSession:
    """One engine process, started fresh and watched. See `harness.devices.base.Child`."""

    def __init__(self, timeline: Timeline, scope: Scope | None, stderr: Path) -> None:
        self._timeline = timeline
        self._scope = scope
        self._stderr = stderr
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._heard = False
        self._closing = False
        self.watch = Watch(timeline, lambda: self.pid, scope, stderr, kind=PROCESS_KIND)

    @property
    def pid(self) -> int | None:
        """The number of the process, once it was started."""
        return self._process.pid if self._process else None

    async def start(self, module: str, job: dict[str, JsonValue], on_event: OnEvent) -> None:
        """See `Child.start`."""
        if self._process is not None:
            raise RuntimeError("a child runs one job")
        line = json.dumps({**job, "log": str(self._stderr)}).encode() + b"\n"
        with self._stderr.open("ab") as stderr:
            self._process = process = await asyncio.create_subprocess_exec(
                *(self._scope.prefix if self._scope else ()),
                *(sys.executable, "-m", module),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                # An interrupt of the terminal is for the harness, which ends the process itself.
                start_new_session=True,
            )
        self._listening = asyncio.create_task(self._listen(process, on_event))
        if process.stdin is None:
            raise RuntimeError("the process has no stdin")
        process.stdin.write(line)
        # One that died before it read its job is reported by its end.
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process, on_event: OnEvent) -> None:
        if process.stdout is None:
            raise RuntimeError("the process has no stdout")
        async for line in _lines(process.stdout):
            if not self._heard:
                self._heard = True
                self.watch.look_at_processes()  # the end may come before the next poll
            on_event(_event(line))
        code = await process.wait()
        # The kernel counts a kill before it sends the signal: what it counted comes first.
        self._look()
        if not self._closing and self._timeline.first(*_LAST_WORDS) is None:
            self._tell_end(code)

    def _tell_end(self, code: int) -> None:
        words = _last_line(self._stderr)
        if code == _NOT_JOINED and not self._heard:
            message = f"the engine's process could not join its group: {words}"
            self._timeline.add(Source.HARNESS, Kind.LAB_ERROR, message=message)
        elif code < 0:
            self._timeline.add(
                Source.PROCESS, Kind.CHILD_GONE, signal=-code, name=_signal_name(-code), line=words
            )
        else:
            self._timeline.add(Source.PROCESS, Kind.CHILD_GONE, exit_code=code, line=words)

    def _look(self) -> None:
        self.watch.look_for_kills()
        self.watch.read_stderr()
        self.watch.look_at_processes()

    def memory_curve(self) -> list[MemorySample]:
        """See `Watched.memory_curve`."""
        return self.watch.curve

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        """See `Watched.peak_memory`."""
        self.watch.look_at_processes()
        return self.watch.peaks()

    def cpu_seconds(self) -> float | None:
        """See `Watched.cpu_seconds`."""
        return self.watch.cpu_seconds()

    def throttled_seconds(self) -> float | None:
        """See `Watched.throttled_seconds`."""
        return self.watch.throttled_seconds()

    async def settle(self) -> None:
        """See `Watched.settle`. The end of a process comes with its reason: one look suffices."""
        self._look()

    async def close(self) -> None:
        """End the process, whatever state it is in."""
        self._closing = True
        process = self._process
        if process is None:
            return
        # What it started may hold its stdout, whose end is waited for below. The process itself is
        # asyncio's to wait for.
        left = handles(self.watch.pids() - {process.pid})
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.to_thread(kill_all, left, within=CLOSE_SECONDS)
        if process.stdin is not None:
            process.stdin.close()
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._listening


@asynccontextmanager
async def child_session(
    timeline: Timeline, folder: Path, scope: Scope | None
) -> AsyncIterator[ChildSession]:
    """A process to come, whose deaths go to `timeline` and whose stderr goes to `folder`.

    The scope is closed at the end, and with it ends whatever the process left.
    """
    session = ChildSession(timeline, scope, folder / "engine-stderr.log")
    try:
        polls = asyncio.create_task(session.watch.run())
        try:
            yield session
        finally:
            # First the polls: a process that ends because it is told to is no evidence.
            polls.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await polls
            await session.close()
    finally:
        if scope:
            await asyncio.to_thread(scope.close)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Complete lines. What a process that dies left without an end is dropped.

    A line that is too long is given as far as it may be, and nothing after it.
    """
    rest = b""
    while piece := await stream.read(1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > LINE_BYTES:
            yield rest[:LINE_BYTES]
            while await stream.read(1 << 16):
                pass  # it must not be stopped by a full pipe
            return


def _event(line: bytes) -> Any:  # noqa: ANN401 - whatever it says
    """What a line says; one that is no JSON is given as text, which is no event."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line.decode("utf-8", "replace")


def _last_line(path: Path) -> str:
    """The last line of a log that says anything, at most 400 characters of it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 12)))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:400] if said else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
