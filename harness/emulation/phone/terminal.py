"""The streams of a shell service: plain or framed, pipes or a terminal.

Behaviour: AOSP `packages/modules/adb/daemon/shell_service.cpp`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import struct
import termios
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.shell import finish
from harness.emulation.phone.shell_protocol import Kind, frame, read_frame, window_size

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from harness.emulation.phone.shell import Shell
    from harness.emulation.phone.streams import Stream

_PIECE: Final = 64 << 10


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data


class PlainIO:
    """Both outputs in one stream, without an exit code: `shell:` and `exec:`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._turn = asyncio.Lock()

    async def out(self, data: str | bytes) -> None:
        """Write to the stream."""
        async with self._turn:
            await self._stream.write(_bytes(data))

    async def err(self, data: str | bytes) -> None:
        """Write to the stream as well."""
        await self.out(data)

    async def stdin(self) -> bytes:
        """What the host sends."""
        return await self._stream.read()

    async def exit(self, code: int) -> None:
        """Nobody is told."""


class FramedIO:
    """`shell,v2`: outputs apart, an exit code, and the terminal's size."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._turn = asyncio.Lock()
        self._ended = False
        self.on_window: Callable[[tuple[int, int, int, int]], None] = lambda _: None

    async def _write(self, kind: Kind, data: bytes) -> None:
        if data:
            async with self._turn:
                await self._stream.write(frame(kind, data))

    async def out(self, data: str | bytes) -> None:
        """Write to the standard output."""
        await self._write(Kind.STDOUT, _bytes(data))

    async def err(self, data: str | bytes) -> None:
        """Write to the standard error."""
        await self._write(Kind.STDERR, _bytes(data))

    async def stdin(self) -> bytes:
        """The next piece of input; `b""` when the host closed it, or is gone."""
        while not self._ended:
            try:
                kind, data = await read_frame(self._stream)
            except EOFError:
                break
            if kind == Kind.STDIN and data:
                return data
            if kind == Kind.WINDOW_SIZE and (size := window_size(data)):
                self.on_window(size)
            if kind == Kind.CLOSE_STDIN:
                break
        self._ended = True
        return b""

    async def exit(self, code: int) -> None:
        """Tell the exit code."""
        await self._write(Kind.EXIT, bytes([code & 0xFF]))


async def run_terminal(
    shell: Shell, line: str, io: PlainIO | FramedIO, gone: asyncio.Event, term: str
) -> int:
    """Run a shell behind a terminal of its own: interactive, or with one line.

    Without frames the terminal passes bytes as they are (`cfmakeraw`), for the host's own terminal
    then does the work.
    """
    plan = shell.plan()
    main, inner = pty.openpty()
    with os.fdopen(main, "r+b", buffering=0) as terminal:
        try:
            if isinstance(io, FramedIO):
                io.on_window = lambda size: _resize(main, size)
            else:
                _make_raw(inner)
            process = await asyncio.create_subprocess_exec(
                *plan.program,
                *(("-c", plan.translate(line)) if line else ("-i",)),
                stdin=inner,
                stdout=inner,
                stderr=inner,
                env={**plan.environment, **({"TERM": term} if term else {})},
                cwd=plan.folder,
                preexec_fn=_own_terminal,
            )
        finally:
            os.close(inner)
        feeding = asyncio.ensure_future(_feed(io, main))
        try:
            return await finish(process, [_copy(terminal, io, shell)], gone)
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _make_raw(terminal: int) -> None:
    attributes = termios.tcgetattr(terminal)
    attributes[1] &= ~termios.OPOST
    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    termios.tcsetattr(terminal, termios.TCSANOW, attributes)


def _resize(terminal: int, size: tuple[int, int, int, int]) -> None:
    rows, columns, width, height = size
    packed = struct.pack("HHHH", rows, columns, width, height)
    with suppress(OSError):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, packed)


async def _copy(terminal: BinaryIO, io: PlainIO | FramedIO, shell: Shell) -> None:
    """Copy the terminal's output up to its end, which Linux tells by EIO."""
    watcher = shell.watcher()
    reader = asyncio.StreamReader(limit=_PIECE)
    copy = os.fdopen(os.dup(terminal.fileno()), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), copy
    )
    try:
        with suppress(OSError):
            while data := await reader.read(_PIECE):
                watcher.look(data)
                await io.out(data)
    finally:
        transport.close()


async def _feed(io: PlainIO | FramedIO, terminal: int) -> None:
    """Type what the host types; at its end, end of file."""
    loop = asyncio.get_running_loop()
    while data := await io.stdin():
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(terminal, rest) :]
            except BlockingIOError:
                writable = asyncio.Event()
                loop.add_writer(terminal, writable.set)
                try:
                    await writable.wait()
                finally:
                    loop.remove_writer(terminal)
            except OSError:
                return
    with suppress(OSError):
        os.write(terminal, b"\x04")
