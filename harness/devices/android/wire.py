"""The protocol between an adb server and its clients, over asyncio's streams.

Each request is four hexadecimal digits of length and the text; the server answers `OKAY`, or `FAIL`
and a counted reason (AOSP: packages/modules/adb/docs/dev/services.md and SERVICES.TXT). adbutils'
own connection is not used here: it blocks, it starts a server on the default port when the wanted
one is gone, and it reads a lost connection as the end of the output.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECT_SECONDS: Final = 5.0
# adb's own services answer with at most 64 KiB at a time; bulk data is read in larger pieces.
BUFFER_BYTES: Final = 1 << 20
_LONGEST_REQUEST: Final = 0xFFFF
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))


class ServerLostError(Exception):
    """The adb server cannot be reached, or ended the connection in the middle of an answer."""


class RefusedError(Exception):
    """The adb server, or the phone behind it, answered `FAIL`; `str()` is its reason."""


class NotAdbError(Exception):
    """What listens on the port does not speak as an adb server does."""


class Stream:
    """One connection to an adb server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self, text: str) -> None:
        """Send one request and read its status.

        Raises:
            RefusedError: the answer is `FAIL`.
            NotAdbError: the answer is neither `OKAY` nor `FAIL`.
            ServerLostError: there is no answer.
        """
        data = text.encode()
        if len(data) > _LONGEST_REQUEST:
            raise RefusedError(f"a request of {len(data)} bytes is longer than adb can carry")
        await self.send(b"%04x" % len(data) + data)
        await self.status()

    async def status(self) -> None:
        """Read `OKAY`, or `FAIL` and its reason; raises like `request`."""
        word = await self.exactly(4)
        if word == b"FAIL":
            raise RefusedError(await self.counted())
        if word != b"OKAY":
            raise NotAdbError(f"answered {word!r}")

    async def counted(self) -> str:
        """A text after its length in four hexadecimal digits; raises like `request`."""
        digits = await self.exactly(4)
        try:
            size = int(digits, 16)
        except ValueError as error:
            raise NotAdbError(f"answered {digits!r} for a length") from error
        return (await self.exactly(size)).decode(errors="replace")

    async def exactly(self, size: int) -> bytes:
        """`size` bytes.

        Raises:
            ServerLostError: the connection ended before.
        """
        try:
            return await self._reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise ServerLostError("the connection ended") from error

    async def some(self) -> bytes:
        """What is there, at least one byte; empty at the end of the stream."""
        try:
            return await self._reader.read(BUFFER_BYTES)
        except OSError:
            return b""

    async def send(self, data: bytes) -> None:
        """Send, waiting while the server takes no more.

        Raises:
            ServerLostError: the connection ended.
        """
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise ServerLostError("the connection ended") from error

    def close(self) -> None:
        """End the connection at once, whatever is under way on it."""
        self._writer.transport.abort()


@asynccontextmanager
async def connection(host: str, port: int) -> AsyncIterator[Stream]:
    """A connection to the adb server, closed with the block however that ends.

    Raises:
        ServerLostError: nothing answers there.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=BUFFER_BYTES)
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or "no answer"
        raise ServerLostError(f"no adb server at {host}:{port}: {reason}") from error
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:  # a host that went away is noticed in 40 s
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)
    try:
        yield Stream(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
