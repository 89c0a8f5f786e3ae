"""A port of this machine that leads to another one: how a fixed address finds the harness's pages.

iOS has nothing like `adb reverse`. A user who has an address that their device trusts, with a
certificate, points it at a fixed port; the harness's own server has another one in each run.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PIECE: Final = 1 << 18
_LOOPBACK: Final = "127.0.0.1"


@asynccontextmanager
async def relay(port: int, target: int) -> AsyncIterator[int]:
    """Lead connections to `port` on to `target` while the block runs; both on loopback.

    Args:
        port: to listen on; 0 picks one.
        target: where connections end.

    Yields:
        The port that is listened on.

    Raises:
        UserError: the port is taken.
    """
    open_now: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            open_now.add(task)
            task.add_done_callback(open_now.discard)
        await _join(reader, writer, target)

    try:
        server = await asyncio.start_server(serve, _LOOPBACK, port)
    except OSError as error:
        raise UserError(
            f"port {port} of this machine cannot be used: {error.strerror}",
            "end what uses it, or choose another one",
        ) from error
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(open_now):
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
    with contextlib.suppress(OSError):
        try:
            far_reader, far_writer = await asyncio.open_connection(_LOOPBACK, target)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_copy(reader, far_writer))
                    group.create_task(_copy(far_reader, writer))
            finally:
                far_writer.close()
        finally:
            writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
