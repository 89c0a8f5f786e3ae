"""Sockets between host and phone: `adb forward` (into the phone) and `adb reverse` (out of it).

Behaviour: AOSP `packages/modules/adb/{sockets.cpp,adb_listeners.cpp,socket_spec.cpp}`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from harness.emulation.phone.streams import Stream

LOOPBACK: Final = "127.0.0.1"
_LARGEST_PORT: Final = 65535
_PIECE: Final = 256 << 10
#: Kinds of addresses that a phone has, besides `tcp`.
UNIX_KINDS: Final = ("localabstract", "localfilesystem", "localreserved", "local")


@dataclass(frozen=True, slots=True)
class Names:
    """Where the phone's socket names are for this process."""

    path: Callable[[str], Path]
    abstract: Callable[[str], str]

    def unix(self, kind: str, name: str) -> str:
        """The address of a Unix socket."""
        if kind == "localabstract":
            return "\0" + self.abstract(name)
        return str(self.path(f"/dev/socket/{name}" if kind == "localreserved" else name))


def tcp_port(text: str) -> int | None:
    """The port of `8000` or `8000:localhost`; None for what is none."""
    number = text.partition(":")[0]
    if not (number.isascii() and number.isdecimal() and len(number) <= 5):  # noqa: PLR2004
        return None
    return int(number) if int(number) <= _LARGEST_PORT else None


async def connect(
    names: Names, kind: str, address: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a socket of the phone.

    Raises:
        OSError: nobody listens there, or the address is none.
    """
    if kind != "tcp":
        return await asyncio.open_unix_connection(names.unix(kind, address), limit=_PIECE)
    port = tcp_port(address)
    if not port:
        raise OSError(f"{address!r} is no port")
    return await asyncio.open_connection(LOOPBACK, port, limit=_PIECE)


async def join(stream: Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes both ways until either side closes; adb knows no half-closed streams."""

    async def inward() -> None:
        while data := await stream.read():
            writer.write(data)
            await writer.drain()

    async def outward() -> None:
        while data := await reader.read(_PIECE):
            await stream.write(data)

    tasks = [asyncio.ensure_future(inward()), asyncio.ensure_future(outward())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()


@dataclass(frozen=True, slots=True)
class _Listener:
    remote: str
    server: asyncio.Server


class Reverses:
    """The phone's sockets that lead to the host, of one transport."""

    def __init__(self, names: Names, open_stream: Callable[[str], Awaitable[Stream | None]],
                 end_stream: Callable[[Stream], Awaitable[None]]) -> None:  # fmt: skip
        self._names = names
        self._open = open_stream
        self._end = end_stream
        self._listeners: dict[str, _Listener] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def answer(self, request: str) -> bytes:
        """Answer one `reverse:` request, in the words of `adb_listeners.cpp`."""
        word, _, rest = request.partition(":")
        if request == "list-forward":
            rows = (f"host-1 {local} {one.remote}\n" for local, one in self._listeners.items())
            return _counted("".join(rows))
        if request == "killforward-all":
            self.close()
            return b"OKAY"
        if word == "killforward":
            listener = self._listeners.pop(rest, None)
            if listener is None:
                return _failed(f"listener '{rest}' not found")
            listener.server.close()
            return b"OKAY"
        if word == "forward":
            norebind = rest.startswith("norebind:")
            local, _, remote = rest.removeprefix("norebind:").partition(";")
            if local and remote:
                return await self._listen(local, remote, rebind=not norebind)
        return _failed(f"unknown reverse request {request[:100]!r}")

    async def _listen(self, local: str, remote: str, *, rebind: bool) -> bytes:
        if local in self._listeners:
            if not rebind:
                return _failed("cannot rebind existing socket")
            self._listeners.pop(local).server.close()
        kind, _, address = local.partition(":")
        accept = self._accept(remote)
        try:
            if kind == "tcp" and (port := tcp_port(address)) is not None:
                server = await asyncio.start_server(accept, LOOPBACK, port, limit=_PIECE)
            elif kind in UNIX_KINDS and address:
                unix = self._names.unix(kind, address)
                server = await asyncio.start_unix_server(accept, unix, limit=_PIECE)
            else:
                return _failed(f"unknown local address {local[:100]!r}")
        except OSError as error:
            return _failed(f"cannot bind listener: {error.strerror}")
        told = b""
        if kind == "tcp" and port == 0:
            chosen = str(server.sockets[0].getsockname()[1])
            local, told = f"tcp:{chosen}", _counted(chosen)
        self._listeners[local] = _Listener(remote, server)
        return b"OKAY" + told

    def _accept(
        self, remote: str
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._running.add(task)
            try:
                with suppress(ConnectionError):
                    stream = await self._open(remote)
                    if stream is not None:
                        await join(stream, reader, writer)
                        await self._end(stream)
            finally:
                self._running.discard(task)
                writer.close()

        return accept

    def close(self) -> None:
        """Close every listener."""
        for listener in self._listeners.values():
            listener.server.close()
        self._listeners.clear()

    def lose(self) -> None:
        """The transport is gone: close listeners and connections."""
        self.close()
        for task in self._running:
            task.cancel()


def _counted(text: str) -> bytes:
    """A text behind its length in four hexadecimal digits."""
    words = text.encode()[:0xFFFF]
    return b"%04x" % len(words) + words


def _failed(reason: str) -> bytes:
    return b"FAIL" + _counted(reason)
