"""The commands that are no programs: called by the daemon itself, or from within scripts.

From a script the shim (`shim.py`) calls over a Unix socket. Frames are a letter, a length of four
little-endian bytes, and data:

    shim -> daemon   C  the command line, words separated by zero bytes (first and once)
                     I  standard input, after an R; empty at its end
    daemon -> shim   O, E  standard output, standard error
                     R  give me standard input
                     X  one byte, the exit code; the last frame
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness.emulation.phone.command import Command, CommandIO

_LOG = logging.getLogger(__name__)
#: A command line; Linux allows about as much (ARG_MAX).
MAX_COMMAND_LINE: Final = 4 << 20
_MAX_INPUT: Final = 64 << 10
_HEAD_BYTES: Final = 5
#: What a shell returns for a command that was not found, and for one whose reader went away.
NOT_FOUND: Final = 127
BROKEN_PIPE: Final = 141


async def call(command: Command, argv: Sequence[str], io: CommandIO) -> int:
    """Run one command; whatever it raises becomes an exit code and words on its standard error."""
    try:
        return await command(argv, io) & 0xFF
    except ConnectionError:
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a command's fault must not end the phone
        _LOG.exception("%s", argv)
        with suppress(ConnectionError):
            await io.err(f"{argv[0]}: {type(error).__name__}: {error}\n")
        return 1


class Registry:
    """The commands by name. The mapping is asked anew at every call."""

    def __init__(self, commands: Callable[[], Mapping[str, Command]]) -> None:
        self._commands = commands

    def find(self, name: str) -> Command | None:
        """The command of that name."""
        return self._commands().get(name)

    async def run(self, argv: Sequence[str], io: CommandIO) -> int:
        """Run one by its command line."""
        command = self.find(argv[0])
        if command is None:
            with suppress(ConnectionError):
                await io.err(f"{argv[0]}: inaccessible or not found\n")
            return NOT_FOUND
        return await call(command, argv, io)

    @asynccontextmanager
    async def served(self, path: Path) -> AsyncIterator[None]:
        """Answer shims at a socket in a folder that only this user can enter."""
        with _bound(path) as listener:
            server = await asyncio.start_unix_server(self._answer, sock=listener, backlog=128)
            try:
                yield
            finally:
                server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            kind, line = await _read(reader, MAX_COMMAND_LINE)
            if kind != b"C":
                return
            argv = [os.fsdecode(word) for word in line.split(b"\0")]
            io = _ShimIO(writer)
            running = asyncio.ensure_future(self.run(argv, io))
            try:
                listening = asyncio.ensure_future(io.listen(reader))
                await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await io.send(b"X", bytes([running.result()]))
            finally:
                running.cancel()
                listening.cancel()
                await asyncio.gather(running, listening, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    """A socket at a path, whatever the path's length; gone afterwards."""
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listener:
        descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
        try:
            # The address may have 107 bytes; a folder's descriptor has a short name.
            listener.bind(f"/proc/self/fd/{descriptor}/{path.name}")
        finally:
            os.close(descriptor)
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


async def _read(reader: asyncio.StreamReader, limit: int) -> tuple[bytes, bytes]:
    head = await reader.readexactly(_HEAD_BYTES)
    length = int.from_bytes(head[1:], "little")
    if length > limit:
        raise ConnectionAbortedError(f"a frame of {length} bytes")
    return head[:1], await reader.readexactly(length)


class _ShimIO:
    """A command's streams through its shim."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._input: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        self._ended = False

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take what the shim sends, until it goes away."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                _, data = await _read(reader, _MAX_INPUT)
                await self._input.put(data)

    async def send(self, kind: bytes, data: bytes) -> None:
        if self._writer.is_closing():
            raise BrokenPipeError
        self._writer.write(kind + len(data).to_bytes(4, "little") + data)
        await self._writer.drain()

    async def out(self, data: str | bytes) -> None:
        await self.send(b"O", _bytes(data))

    async def err(self, data: str | bytes) -> None:
        await self.send(b"E", _bytes(data))

    async def stdin(self) -> bytes:
        if self._ended:
            return b""
        await self.send(b"R", b"")
        data = await self._input.get()
        self._ended = not data
        return data


def _bytes(data: str | bytes) -> bytes:
    return data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
