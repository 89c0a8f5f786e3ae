"""`@chrome_devtools_remote`: Chromium's DevTools port behind an abstract socket, as on Android.

Only the answer to `/json/version` is changed: it names the package, which chromedriver asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Final

_HEAD_BYTES: Final = 64 << 10
_BODY_BYTES: Final = 16 << 20
_PIECE: Final = 256 << 10
_LENGTH: Final = re.compile(
    rb"^content-length:[ \t]*(\d{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_UPGRADE: Final = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)
_VERSION: Final = re.compile(rb"^GET /json/version[/? ]")


class DevtoolsBridge:
    """One abstract socket in front of one DevTools port.

    Args:
        name: the socket's name, without the leading NUL.
        port: where Chromium listens on the loopback.
        package: what `/json/version` names.
    """

    def __init__(self, name: str, port: int, package: str) -> None:
        self._name = name
        self._port = port
        self._package = package
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the name is taken.
        """
        self._server = await asyncio.start_unix_server(self._serve, f"\0{self._name}")

    async def close(self) -> None:
        """Stop listening and hang up."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for client in list(self._clients):
            client.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass  # either side hung up, or does not speak HTTP
        finally:
            self._clients.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether another may follow on this connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_PIECE)
        try:
            up_writer.write(head)
            if _UPGRADE.search(head):
                await _both_ways(reader, writer, up_reader, up_writer)
                return False
            if length := _length(head):
                up_writer.write(await reader.readexactly(length))
            await up_writer.drain()
            answer = await up_reader.readuntil(b"\r\n\r\n")
            body = await up_reader.readexactly(_length(answer))
            if _VERSION.match(head):
                body = self._named(body)
                answer = _LENGTH.sub(b"Content-Length:%d\r" % len(body), answer)
            writer.write(answer + body)
            await writer.drain()
        finally:
            up_writer.close()
        return True

    def _named(self, body: bytes) -> bytes:
        version = json.loads(body)
        version = {"Android-Package": self._package, **version}
        version["Browser"] = str(version.get("Browser", "")).replace("Headless", "")
        return json.dumps(version, indent=3).encode()


def _length(head: bytes) -> int:
    found = _LENGTH.search(head)
    length = int(found.group(1)) if found else 0
    if length > _BODY_BYTES:
        raise ValueError(f"a body of {length} bytes")
    return length


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    """Copy until either side is done."""
    tasks = {
        asyncio.create_task(_copy(reader, up_writer)),
        asyncio.create_task(_copy(up_reader, writer)),
    }
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        target.write(piece)
        await target.drain()
