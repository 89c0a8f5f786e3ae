"""One adb server's connection: the handshake, then packets to streams and services.

Handshake: AOSP `packages/modules/adb/protocol.txt`. Who may connect is not decided here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.protocol import (
    AUTH_SIGNATURE,
    AUTH_TOKEN,
    LEAST_PAYLOAD,
    MAX_PAYLOAD,
    TOKEN_BYTES,
    VERSION,
    VERSION_SKIP_CHECKSUM,
    Command,
    Decoder,
    Packet,
    ProtocolError,
    banner,
    encode,
    service_name,
)
from harness.emulation.phone.services import Phone, Services
from harness.emulation.phone.streams import Stream, Streams

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

_LOG = logging.getLogger(__name__)
_PIECE: Final = 256 << 10
#: Sent at once while the transport is slowed down.
_SLOW_PIECE: Final = 16 << 10


class Greeting(Enum):
    """How a connecting host is met."""

    ONLINE = "online"
    SILENT = "silent"  # adb calls the phone offline
    UNAUTHORIZED = "unauthorized"


class Pace:
    """How fast bytes pass, in both directions together; as they come unless slowed down."""

    def __init__(self) -> None:
        self.bytes_per_second: float | None = None
        self._next = 0.0

    def pieces(self, data: bytes) -> list[bytes]:
        """What may be sent at once, so that a slow transport trickles."""
        if self.bytes_per_second is None or len(data) <= _SLOW_PIECE:
            return [data]
        return [data[i : i + _SLOW_PIECE] for i in range(0, len(data), _SLOW_PIECE)]

    async def wait(self, count: int) -> None:
        """Wait until so many bytes may pass."""
        if self.bytes_per_second is None:
            return
        now = asyncio.get_running_loop().time()
        self._next = max(now, self._next) + count / self.bytes_per_second
        while self.bytes_per_second is not None and (left := self._next - now) > 0:
            await asyncio.sleep(min(left, 0.1))
            now = asyncio.get_running_loop().time()


class Transport:
    """One connection, from its first byte to its last."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        phone: Phone,
        properties: Callable[[], dict[str, str]],
        greeting: Greeting,
        pace: Pace,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._properties = properties
        self._greeting = greeting
        self._pace = pace
        self._checksum = False
        self._online = False
        self._dropped = False
        self._turn = asyncio.Lock()
        self._streams = Streams(self.send)
        self._services = Services(phone, self._streams)
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, packet: Packet) -> None:
        """Send one packet; waits while the peer is behind.

        Raises:
            ConnectionError: the connection is gone.
        """
        data = encode(packet, checksum=self._checksum)
        async with self._turn:
            for piece in self._pace.pieces(data):
                await self._pace.wait(len(piece))
                if self._writer.is_closing():
                    raise ConnectionResetError
                self._writer.write(piece)
                await self._writer.drain()

    async def run(self) -> None:
        """Serve the connection to its end."""
        decoder = Decoder(MAX_PAYLOAD)
        try:
            while data := await self._reader.read(_PIECE):
                await self._pace.wait(len(data))
                for packet in decoder.feed(data):
                    await self._take(packet)
        except ConnectionError:
            pass
        except ProtocolError as error:
            _LOG.warning("the transport is closed: %s", error)
        finally:
            self.drop()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop(self) -> None:
        """Close the connection at once, as if the cable were pulled."""
        if self._dropped:
            return
        self._dropped = True
        self._writer.transport.abort()
        self._streams.lose_all()
        self._services.lose()
        for task in self._tasks:
            task.cancel()

    def send_garbage(self, data: bytes) -> None:
        """Send bytes that are no packet."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def _take(self, packet: Packet) -> None:
        if packet.command is Command.CNXN:
            await self._greet(packet)
        elif not self._online:
            if packet.command is Command.AUTH and packet.arg0 == AUTH_SIGNATURE:
                await self._ask_for_signature()
        elif packet.command is Command.OPEN:
            self._open(packet)
        elif packet.command in (Command.OKAY, Command.WRTE, Command.CLSE):
            await self._streams.take(packet)

    async def _greet(self, packet: Packet) -> None:
        """`arg0` is the host's version, `arg1` the most it takes in a packet."""
        if self._greeting is Greeting.SILENT:
            return
        if self._greeting is Greeting.UNAUTHORIZED:
            await self._ask_for_signature()
            return
        self._checksum = packet.arg0 < VERSION_SKIP_CHECKSUM
        self._streams.max_payload = max(1, min(packet.arg1 or LEAST_PAYLOAD, MAX_PAYLOAD))
        self._online = True
        await self.send(Packet(Command.CNXN, VERSION, MAX_PAYLOAD, banner(self._properties())))

    async def _ask_for_signature(self) -> None:
        """Ask for a signature by another of the host's keys; none is ever good enough."""
        if self._greeting is Greeting.UNAUTHORIZED:
            token = secrets.token_bytes(TOKEN_BYTES)
            await self.send(Packet(Command.AUTH, AUTH_TOKEN, 0, token))

    def _open(self, packet: Packet) -> None:
        stream = self._streams.incoming(packet)
        if stream is None:
            self._start(self._refuse(packet.arg0))
        else:
            self._start(self._serve(stream, service_name(packet.data)))

    async def _serve(self, stream: Stream, service: str) -> None:
        _LOG.debug("OPEN %s", service)
        await self._services.serve(stream, service)

    async def _refuse(self, remote: int) -> None:
        with suppress(ConnectionError):
            await self.send(Packet(Command.CLSE, 0, remote))

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
