"""The phone's shell: real programs, and between them the commands of the registry.

mksh is Android's own shell and toybox Android's own tools; where the host has none, its `sh` and
its tools answer. A command line that is one command of the registry and its words runs without a
shell, because that is what most are and it is ten times faster.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.registry import call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from harness.emulation.phone.command import Command, CommandIO
    from harness.emulation.phone.registry import Registry

    Write = Callable[[bytes], Awaitable[None]]

#: Marks that mean something to a shell; a line without them is split at its spaces.
_SPECIAL: Final = re.compile(r"[^A-Za-z0-9 _./:,@%+=-]")
#: `sh: foo: not found`, as mksh, dash and bash say it.
_NOT_FOUND: Final = re.compile(
    rb"^(?:[A-Z]: )?[^\s:]*sh(?:\[\d+\])?: (?:line )?(?:\d+: |<stdin>\[\d+\]: )?([^\s:]{1,100}): "
    rb"(?:inaccessible or not found|not found|command not found)",
    re.MULTILINE,
)
_LONGEST_COMPLAINT: Final = 300
_PIECE: Final = 256 << 10
_NOT_FOUND_CODE: Final = 127
#: What a shell returns for a command that SIGHUP ended.
HANGUP_CODE: Final = 129
#: A command whose host is gone gets SIGHUP, and after this SIGKILL.
_HANGUP_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ShellPlan:
    """How a shell is started here: its program, its environment, the folder it starts in.

    `translate` makes a line of the phone's one of the host's; nothing needs to change where the
    phone is isolated.
    """

    program: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    translate: Callable[[str], str] = str


class Shell:
    """Runs command lines."""

    def __init__(self, plan: ShellPlan, registry: Registry, unknown: Callable[[str], None]) -> None:
        self._plan = plan
        self._registry = registry
        self._unknown = unknown

    def simple(self, line: str) -> tuple[Command, list[str]] | None:
        """The registry's command that a line is, and its words; None where a shell is needed."""
        words = line.split(" ")
        words = [word for word in words if word]
        if not words or _SPECIAL.search(line) or "=" in words[0]:
            return None
        command = self._registry.find(words[0])
        return None if command is None else (command, words)

    async def run(self, line: str, io: CommandIO, gone: asyncio.Event | None) -> int:
        """Run one line; the exit code. When `gone` is set, it is hung up."""
        simple = self.simple(line)
        if simple is None:
            return await self._run_shell(line, io, gone)
        command, words = simple
        return await _unless(gone, call(command, words, io))

    async def _run_shell(self, line: str, io: CommandIO, gone: asyncio.Event | None) -> int:
        watcher = Watcher(self._unknown)
        out, err = await Outlet.open(), await Outlet.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._plan.program,
                "-c",
                self._plan.translate(line),
                stdin=asyncio.subprocess.PIPE,
                stdout=out.descriptor,
                stderr=err.descriptor,
                env=self._plan.environment,
                cwd=self._plan.folder,
                start_new_session=True,
            )
            out.started()
            err.started()
            assert process.stdin is not None
            feeding = asyncio.ensure_future(_feed(io, process.stdin))
            try:
                copies = [out.copy(io.out), err.copy(watcher.through(io.err))]
                code = await finish(process, copies, gone)
            finally:
                feeding.cancel()
        finally:
            out.close()
            err.close()
        watcher.end(code, line)
        return code

    def plan(self) -> ShellPlan:
        """How a shell is started; for one behind a terminal."""
        return self._plan

    def watcher(self) -> Watcher:
        """Counts the commands that a shell does not find."""
        return Watcher(self._unknown)


class Watcher:
    """Finds the commands that a shell did not find, by what it says of them."""

    def __init__(self, unknown: Callable[[str], None]) -> None:
        self._unknown = unknown
        self._found = False
        self._line = b""

    def look(self, data: bytes) -> None:
        """Look through a piece of output, of which the last line may not be complete."""
        lines, newline, rest = (self._line + data).rpartition(b"\n")
        self._search(lines + newline)
        self._line = rest[-_LONGEST_COMPLAINT:]

    def _search(self, lines: bytes) -> None:
        for match in _NOT_FOUND.finditer(lines):
            self._found = True
            self._unknown(os.fsdecode(match[1]))

    def through(self, write: Write) -> Write:
        """The same writer, with a look at what goes through."""

        async def looked_at(data: bytes) -> None:
            self.look(data)
            await write(data)

        return looked_at

    def end(self, code: int, line: str) -> None:
        """The shell has ended: an exit code of 127 without a complaint counts as well."""
        self._search(self._line)
        if code == _NOT_FOUND_CODE and not self._found:
            self._unknown(line[:100])


class Outlet:
    """A pipe that a process writes to, whose reading end can be closed before the process ends."""

    def __init__(self, descriptor: int, reader: asyncio.StreamReader) -> None:
        self.descriptor = descriptor
        self._reader = reader
        self._transport: asyncio.BaseTransport | None = None

    @classmethod
    async def open(cls) -> Outlet:
        """A new pipe."""
        reading, writing = os.pipe()
        reader = asyncio.StreamReader(limit=_PIECE)
        outlet = cls(writing, reader)
        outlet._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb", buffering=0)
        )
        return outlet

    def started(self) -> None:
        """The process has its end: the own copy of it would hide the end of the output."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def close(self) -> None:
        """Close both ends; the process gets EPIPE at its next write."""
        self.started()
        if self._transport is not None:
            self._transport.close()

    async def copy(self, write: Write) -> None:
        """Copy to the end, or until nobody reads any more."""
        try:
            while data := await self._reader.read(_PIECE):
                await write(data)
        except ConnectionError:
            self.close()


async def finish(
    process: asyncio.subprocess.Process,
    copies: Sequence[Awaitable[None]],
    gone: asyncio.Event | None,
) -> int:
    """Wait for the end of the output and of the process; its exit code.

    When `gone` is set its process group gets SIGHUP, and if it does not end, the process SIGKILL;
    what it left in the background on purpose (`nohup`) stays, as on a phone.
    """
    copying = asyncio.ensure_future(_all(copies))
    leaving = asyncio.ensure_future(gone.wait() if gone else asyncio.Event().wait())
    try:
        await asyncio.wait({copying, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if copying.done():
            code = await process.wait()
            return code if code >= 0 else 128 - code
    finally:
        for task in (copying, leaving):
            task.cancel()
        await asyncio.gather(copying, leaving, return_exceptions=True)
        if process.returncode is None:
            await _hang_up(process)
    return HANGUP_CODE


async def _all(copies: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*copies)


async def _hang_up(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGHUP)
    try:
        async with asyncio.timeout(_HANGUP_SECONDS):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError) as error:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if isinstance(error, asyncio.CancelledError):
            raise


async def _feed(io: CommandIO, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await io.stdin():
            writer.write(data)
            await writer.drain()
    with suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()


async def _unless(gone: asyncio.Event | None, work: Awaitable[int]) -> int:
    """Wait for a command's code; it is cancelled when `gone` is set."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone.wait() if gone else asyncio.Event().wait())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else HANGUP_CODE
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
