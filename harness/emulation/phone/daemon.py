"""The phone's daemon: its cable, its boots, its faults. It runs inside the isolation."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.transport import Greeting, Pace, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from harness.emulation.phone.command import Android
    from harness.emulation.phone.peers import Peers
    from harness.emulation.phone.services import Phone

_LOG = logging.getLogger(__name__)
_BACKLOG: Final = 16
_STREAM_LIMIT: Final = 1 << 20
#: What an Android may take to stop before it is left behind.
_STOP_SECONDS: Final = 10.0
_GARBAGE_BYTES: Final = 4096


class Cable:
    """The listening socket: plugged in, it takes connections; pulled, they are refused.

    Args:
        listener: bound, and not listening.
    """

    def __init__(self, listener: socket.socket, peers: Peers) -> None:
        self._listener = listener
        self._peers = peers
        self._holds = 1
        self._accepting: asyncio.Task[None] | None = None
        self._transports: dict[Transport, asyncio.Task[None]] = {}
        self.greeting = Greeting.ONLINE
        self.pace = Pace()
        self.make: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Transport] | None = None

    def release(self) -> None:
        """One reason less to be unplugged; plugged in when there is none left."""
        self._holds -= 1
        if self._holds == 0:
            self._listener.listen(_BACKLOG)
            self._accepting = asyncio.create_task(self._accept())
            self._accepting.add_done_callback(_tell_failure)

    def hold(self) -> None:
        """One reason more to be unplugged: connections are dropped, and refused from now on."""
        self._holds += 1
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
            # Linux: the socket keeps its port, and may listen again.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
        self.drop()

    def drop(self) -> None:
        """Drop every connection."""
        for transport in list(self._transports):
            transport.drop()

    def send_garbage(self, data: bytes) -> None:
        """Send bytes that are no packet on every connection."""
        for transport in list(self._transports):
            transport.send_garbage(data)

    async def close(self) -> None:
        """End for good."""
        self.hold()
        await asyncio.gather(*self._transports.values(), return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # the connection is gone already, or files are short
                _LOG.warning("accept: %s", error)
                await asyncio.sleep(0.1)
                continue
            if self._peers.allowed(connection):
                await self._start(connection)
            else:
                _LOG.warning("a connection of another user is refused")
                connection.close()

    async def _start(self, connection: socket.socket) -> None:
        assert self.make is not None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader, writer = await asyncio.open_connection(sock=connection, limit=_STREAM_LIMIT)
        transport = self.make(reader, writer)
        task = asyncio.create_task(transport.run())
        self._transports[transport] = task
        task.add_done_callback(lambda _: self._transports.pop(transport, None))


def _tell_failure(task: asyncio.Task[None]) -> None:
    """A task that nobody waits for must not fail in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("%s failed", task.get_name(), exc_info=error)


class Daemon:
    """Boots an Android, keeps its cable, and does to both what it is asked for.

    Args:
        kill_rest: ends every process of the phone but the daemon's own.
    """

    def __init__(
        self, cable: Cable, android: Android, phone: Phone, kill_rest: Callable[[], None]
    ) -> None:
        self._cable = cable
        self._android = android
        self._kill_rest = kill_rest
        self._booting = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulled: set[asyncio.Task[None]] = set()
        self._greeting_owner = 0
        self._pace_owner = 0
        cable.make = lambda reader, writer: Transport(
            reader,
            writer,
            phone=phone,
            properties=lambda: android.properties,
            greeting=cable.greeting,
            pace=cable.pace,
        )

    async def start(self) -> None:
        """Boot, and plug in."""
        await self._android.start()
        self._cable.release()

    async def stop(self) -> None:
        """Pull the cable, and end the Android."""
        for task in self._tasks:
            task.cancel()
        await self._cable.close()
        await self._stop_android()

    async def _stop_android(self) -> None:
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self._android.stop()
        except TimeoutError:
            _LOG.warning("Android did not stop within %.0f s", _STOP_SECONDS)
        except Exception:  # noqa: BLE001 - the daemon goes on whatever Android does
            _LOG.exception("Android did not stop")
        self._kill_rest()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(_tell_failure)
        return task

    def unplug(self, seconds: float) -> None:
        """Pull the cable for so long."""

        async def back() -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                self._cable.release()

        self._cable.hold()
        self._pulled.add(self._start(back()))

    def plug(self) -> None:
        """Put the cable back that `unplug` pulled, as if its time were over."""
        for task in self._pulled:
            task.cancel()
        self._pulled.clear()

    def restart(self) -> None:
        """Start the daemon anew: all connections are gone, and may come again at once."""
        self._cable.drop()

    def greet(self, greeting: Greeting, seconds: float) -> None:
        """Drop the connections, and meet hosts so for so long."""
        self._greeting_owner += 1
        owner = self._greeting_owner

        async def back() -> None:
            await asyncio.sleep(seconds)
            if owner == self._greeting_owner:
                self._cable.greeting = Greeting.ONLINE
                self._cable.drop()

        self._cable.greeting = greeting
        self._cable.drop()
        self._start(back())

    def slow(self, bytes_per_second: float, seconds: float) -> None:
        """Let no more bytes pass for so long."""
        self._pace_owner += 1
        owner = self._pace_owner

        async def back() -> None:
            await asyncio.sleep(seconds)
            if owner == self._pace_owner:
                self._cable.pace.bytes_per_second = None

        self._cable.pace.bytes_per_second = bytes_per_second
        self._start(back())

    def garbage(self, seed: int) -> None:
        """Send bytes that are no packet, the same ones for the same seed."""
        self._cable.send_garbage(random.Random(seed).randbytes(_GARBAGE_BYTES))  # noqa: S311

    def reboot(self, seconds: float) -> None:
        """Go down now, and come back no sooner than that."""
        self._cable.hold()
        self._start(self._reboot(seconds))

    async def _reboot(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        back_at = loop.time() + seconds
        try:
            async with self._booting:
                await self._stop_android()
                await asyncio.sleep(max(0.0, back_at - loop.time()))
                await self._android.start()
        finally:
            self._cable.release()
