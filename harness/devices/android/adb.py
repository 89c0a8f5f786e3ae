"""Phones through the adb server: commands, files, ports.

Everything goes to the server's socket by asyncio: a call that is cancelled closes its connection,
and leaves no thread behind. The adb program itself (the PATH's, or the one that adbutils brings) is
used only to start a server.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android import server, states
from harness.devices.android.failures import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.devices.android.phone import Output, Phone
from harness.devices.android.wire import NotAdbError, RefusedError, ServerLostError, connection
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.devices.android.wire import Stream

__all__ = [
    "Adb",
    "Attached",
    "CommandError",
    "CommandTimeoutError",
    "Output",
    "Phone",
    "TransportLostError",
]

QUERY_SECONDS: Final = 10.0
# adb itself waits ten seconds for a phone that does not answer.
CONNECT_SECONDS: Final = 20.0
# From `connected` until the phone has said hello and accepted this computer.
READY_SECONDS: Final = 5.0
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.\-\[\]:%]{1,255}:[0-9]{1,5}")
_POLL_SECONDS: Final = 0.05
_TRANSIENT: Final = frozenset({"offline", "connecting", "authorizing"})


@dataclass(frozen=True, slots=True)
class Attached:
    """A phone as adb sees it; `state` is adb's word: device, offline, unauthorized, ..."""

    serial: str
    state: str


class Adb:
    """An adb server.

    Args:
        host: where it runs.
        port: its port; None: `ANDROID_ADB_SERVER_PORT`, or 5037.
    """

    def __init__(self, host: str = "127.0.0.1", port: int | None = None) -> None:
        self.host = host
        self.port = server.server_port() if port is None else port

    async def ensure_server(self) -> None:
        """See to it that a server runs.

        Raises:
            UserError: none runs and none can be started, or it cannot be used.
        """
        await server.ensure_server(self.host, self.port)

    async def attached(self) -> list[Attached]:
        """All phones that the server knows, whatever their state, by serial.

        Raises:
            TransportLostError: the server does not answer.
        """
        text = await self.query("host:devices")
        rows = [line.rpartition("\t") for line in text.splitlines()]
        return sorted(
            (Attached(serial, states.normal(state)) for serial, tab, state in rows if tab),
            key=lambda phone: phone.serial,
        )

    async def state_of(self, serial: str) -> str | None:
        """The state of one phone; None where the server does not know it."""
        return next((p.state for p in await self.attached() if p.serial == serial), None)

    async def connect(self, address: str) -> None:
        """Connect a phone over TCP and wait until it is ready.

        Raises:
            UserError: it cannot be reached, or does not accept this computer; with adb's words.
            TransportLostError: the server does not answer.
        """
        if not _ADDRESS.fullmatch(address):
            raise UserError(f"{address[:80]!r} is no address of a phone", "write HOST:PORT")
        said = await self._connect(address)
        if said.startswith("already connected") and await self.state_of(address) == "offline":
            await self.disconnect(address)  # what is left of a connection that broke
            said = await self._connect(address)
        if not said.startswith(("connected to", "already connected")):
            step = (
                states.explained("unauthorized")[1]
                if "authenticate" in said
                else "check that it is on, in the same network, and that debugging over the "
                "network is enabled: `adb tcpip 5555` over USB, or `adb pair` from Android 11"
            )
            raise UserError(f"adb cannot connect to {address}: {said[:400]}", step)
        state = await self._settled(address)
        if state != states.READY:
            meaning, step = states.explained(state or "offline")
            raise UserError(f"{address} is connected, but {meaning}", step)

    async def disconnect(self, address: str) -> None:
        """Let go of a phone over TCP; one that is not connected is no error."""
        with contextlib.suppress(RefusedError):
            await self._ask(f"host:disconnect:{address}", within=QUERY_SECONDS)

    def phone(self, serial: str) -> Phone:
        """The phone with this serial, attached or not."""
        return Phone(self, serial)

    async def query(self, request: str, *, within: float = QUERY_SECONDS) -> str:
        """The server's answer to one of its own services.

        Raises:
            TransportLostError: it does not answer, or refuses.
        """
        try:
            return await self._ask(request, within=within)
        except RefusedError as error:
            raise TransportLostError(f"the adb server refuses: {error}") from error

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[Stream]:
        """A connection to the server.

        Raises:
            TransportLostError: the server is gone, or none of adb's.
        """
        try:
            async with connection(self.host, self.port) as stream:
                yield stream
        except (ServerLostError, NotAdbError) as error:
            raise TransportLostError(f"the adb server or the phone is gone: {error}") from error

    async def _ask(self, request: str, *, within: float) -> str:
        try:
            async with asyncio.timeout(within), self.stream() as stream:
                await stream.request(request)
                return await stream.counted()
        except TimeoutError as error:
            raise TransportLostError(f"the adb server did not answer in {within:g} s") from error

    async def _connect(self, address: str) -> str:
        try:
            return await self._ask(f"host:connect:{address}", within=CONNECT_SECONDS)
        except RefusedError as error:
            return str(error)

    async def _settled(self, serial: str) -> str | None:
        state = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_SECONDS):
                while (state := await self.state_of(serial)) in {*_TRANSIENT, None}:  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECONDS)
        return state
