"""An adb server of this run's own, so that virtual phones do not appear among the user's."""

from __future__ import annotations

import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from harness.devices.android.adb import Adb, TransportLostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def private_server() -> AsyncIterator[Adb]:
    """An adb server on a free port of loopback, which ends with the block.

    Raises:
        UserError: there is no adb program, or it does not start.
    """
    adb = Adb(port=_free_port())
    await adb.ensure_server()
    try:
        yield adb
    finally:
        # Its answer is the end of the connection, as likely as `OKAY`.
        with contextlib.suppress(TransportLostError):
            await adb.query("host:kill")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
