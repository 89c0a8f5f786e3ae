"""An adb server of this run's own, so that virtual phones do not appear among the user's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import Adb, TransportLostError
from harness.devices.android.server import adb_binary, server_version
from harness.devices.android.wire import NotAdbError, ServerLostError
from harness.emulation.phone.linux import die_with_parent
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05
END_SECONDS: Final = 5.0


@asynccontextmanager
async def private_server() -> AsyncIterator[Adb]:
    """An adb server on a free port of loopback, which ends with the block or with this process.

    It is a child and no daemon: adb 29 may hang for ever when it is told to end.

    Raises:
        UserError: there is no adb program, or it does not start.
    """
    binary, port = await adb_binary(), _free_port()
    process = await asyncio.create_subprocess_exec(
        *(binary, "-P", str(port), "nodaemon", "server"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=partial(die_with_parent, os.getpid()),
    )
    try:
        await _until_it_answers(process, port, binary)
        yield Adb(port=port)
    finally:
        if process.returncode is not None:
            await _end_successor(port)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _until_it_answers(process: asyncio.subprocess.Process, port: int, binary: str) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                try:
                    await server_version("127.0.0.1", port)
                except (ServerLostError, NotAdbError):
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return
    except TimeoutError:
        pass
    raise UserError(
        f"{binary} does not start a server on port {port}",
        f"try `{binary} -P {port} nodaemon server`, and mend what it says",
    )


async def _end_successor(port: int) -> None:
    """End the daemon that somebody may have started in place of a server that died."""
    with contextlib.suppress(TransportLostError):
        await Adb(port=port).query("host:kill", within=END_SECONDS)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
