"""Streams inside one adb transport: who may send when, and what is waiting.

A side may have one WRTE under way per stream and waits for its OKAY (protocol.txt). adb 36 does not
always wait: what a web server answers in two pieces to a connection of `adb reverse` came as two
WRTE within 10 us. As the daemon of a phone does, a stream takes them; what it holds is bounded.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.protocol import (
    LEAST_PAYLOAD,
    MAX_PAYLOAD,
    Command,
    Packet,
    ProtocolError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Send = Callable[[Packet], Awaitable[None]]

#: Streams that may be open at once in one transport; a further OPEN is refused.
MAX_STREAMS: Final = 512
#: What a stream holds that nobody has read: bytes, and pieces.
MAX_HELD: Final = 4 * MAX_PAYLOAD
MAX_PIECES: Final = 64


class StreamClosedError(ConnectionError):
    """The other side has closed the stream, or the transport is gone."""


class Stream:
    """One stream. One reader and one writer at a time."""

    def __init__(self, send: Send, local: int, remote: int, max_payload: int) -> None:
        self.local = local
        self.remote = remote
        self._send = send
        self._max_payload = max_payload
        self._waiting: deque[bytes] = deque()
        self._held = 0
        self._rest = bytearray()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self.opened = False
        self.closed = asyncio.Event()

    async def accept(self) -> None:
        """Answer the other side's OPEN with OKAY."""
        self.opened = True
        self._writable.set()
        await self._send(Packet(Command.OKAY, self.local, self.remote))

    async def wait_open(self) -> bool:
        """Wait for the answer to an own OPEN; whether it was accepted.

        The other side may have sent everything and closed again by now.
        """
        await self._writable.wait()
        return self.opened

    async def read(self) -> bytes:
        """The next piece of at most one payload; `b""` at the end."""
        if self._rest:
            piece = bytes(self._rest)
            self._rest.clear()
            return piece
        while True:
            await self._readable.wait()
            if not self._waiting:
                return b""
            piece = self._waiting.popleft()
            self._held -= len(piece)
            if not self.closed.is_set():
                if not self._waiting:
                    self._readable.clear()
                await self._send(Packet(Command.OKAY, self.local, self.remote))
            if piece:  # an empty WRTE is not an end
                return piece

    async def read_exactly(self, count: int) -> bytes:
        """The next `count` bytes; ask for no more than what may be held.

        Raises:
            EOFError: the stream ended before.
        """
        while len(self._rest) < count:
            held = bytes(self._rest)
            self._rest.clear()
            piece = await self.read()
            if not piece:
                raise EOFError
            self._rest += held + piece
        taken = bytes(memoryview(self._rest)[:count])
        del self._rest[:count]
        return taken

    async def write(self, data: bytes) -> None:
        """Send bytes, as many packets as they need; waits for the other side.

        Raises:
            StreamClosedError: the other side does not listen any more.
        """
        whole = memoryview(data)
        for start in range(0, len(whole), self._max_payload):
            await self._writable.wait()
            if self.closed.is_set():
                raise StreamClosedError
            self._writable.clear()
            piece = bytes(whole[start : start + self._max_payload])
            await self._send(Packet(Command.WRTE, self.local, self.remote, piece))

    def take_write(self, data: bytes) -> None:
        """A WRTE has come.

        Raises:
            ProtocolError: too much was sent that was not answered yet.
        """
        self._held += len(data)
        if self._held > MAX_HELD or len(self._waiting) >= MAX_PIECES:
            raise ProtocolError("too many WRTE before the OKAY to the first")
        self._waiting.append(data)
        self._readable.set()

    def take_okay(self, remote: int) -> None:
        """An OKAY has come: the OPEN was accepted, or the last WRTE was taken."""
        self.remote = remote
        self.opened = True
        self._writable.set()

    def take_close(self) -> None:
        """A CLSE has come, or the transport is gone: what is waiting can still be read."""
        self.closed.set()
        self._readable.set()
        self._writable.set()


class Streams:
    """The streams of one transport, by their local numbers."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self.max_payload = LEAST_PAYLOAD

    def __len__(self) -> int:
        return len(self._streams)

    def _add(self, remote: int) -> Stream:
        while self._next in self._streams or self._next == 0:
            self._next = (self._next + 1) & 0xFFFFFFFF
        stream = Stream(self._send, self._next, remote, self.max_payload)
        self._streams[stream.local] = stream
        self._next = (self._next + 1) & 0xFFFFFFFF
        return stream

    def incoming(self, packet: Packet) -> Stream | None:
        """The stream of an OPEN that has come; None where there are too many already.

        Raises:
            ProtocolError: its number is 0, which none may have.
        """
        if packet.arg0 == 0:
            raise ProtocolError("an OPEN from stream 0")
        return self._add(packet.arg0) if len(self._streams) < MAX_STREAMS else None

    async def open(self, service: str) -> Stream | None:
        """Open a stream to the other side; None where it refuses."""
        if len(self._streams) >= MAX_STREAMS:
            return None
        stream = self._add(0)
        try:
            await self._send(Packet(Command.OPEN, stream.local, 0, service.encode() + b"\0"))
            if await stream.wait_open():
                return stream
        except BaseException:
            self._streams.pop(stream.local, None)
            raise
        return None

    async def take(self, packet: Packet) -> None:
        """An OKAY, a WRTE or a CLSE has come.

        Raises:
            ProtocolError: it breaks the rules of its stream.
        """
        stream = self._streams.get(packet.arg1)
        if stream is None:
            if packet.command is Command.WRTE:
                await self._send(Packet(Command.CLSE, 0, packet.arg0))
            return
        if packet.command is Command.OKAY:
            stream.take_okay(packet.arg0)
        elif packet.command is Command.WRTE:
            stream.take_write(packet.data)
        else:
            self._streams.pop(stream.local)
            stream.take_close()

    async def close(self, stream: Stream) -> None:
        """End a stream from this side. One that was never accepted is refused: CLSE(0, id)."""
        if self._streams.pop(stream.local, None) is None:
            return
        refused = not stream.opened
        stream.take_close()
        local = 0 if refused else stream.local
        await self._send(Packet(Command.CLSE, local, stream.remote))

    def lose_all(self) -> None:
        """The transport is gone."""
        for stream in self._streams.values():
            stream.take_close()
        self._streams.clear()
