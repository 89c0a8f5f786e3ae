"""An adb server of this run's own, so that virtual phones do not appear among the user's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from harness.devices.android.adb import Adb
from harness.devices.android.server import adb_binary, server_version
from harness.devices.android.wire import NotAdbError, ServerLostError
from harness.emulation.phone.linux import die_with_parent
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05


class PrivateAdb(Adb):
    """A server that is a child of this process, and ends with it.

    It is no daemon, also not when it is started again after its death: one would outlive a run that
    is killed. And adb 29 may hang for ever when it is told to end.
    """

    def __init__(self, binary: str, port: int) -> None:
        super().__init__(port=port)
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()

    async def ensure_server(self) -> None:
        """See `Adb.ensure_server`."""
        async with self._starting:
            if self._process is not None and await self._answers():
                return
            await self.end()
            self._process = await asyncio.create_subprocess_exec(
                *(self._binary, "-P", str(self.port), "nodaemon", "server"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
            await self._until_it_answers(self._process)

    async def end(self) -> None:
        """End the server, if there is one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        try:
            async with asyncio.timeout(START_SECONDS):
                while process.returncode is None:
                    if await self._answers():
                        return
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            pass
        raise UserError(
            f"{self._binary} does not start a server on port {self.port}",
            f"try `{self._binary} -P {self.port} nodaemon server`, and mend what it says",
        )

    async def _answers(self) -> bool:
        try:
            await server_version(self.host, self.port)
        except (ServerLostError, NotAdbError):
            return False
        return True


@asynccontextmanager
async def private_server() -> AsyncIterator[PrivateAdb]:
    """An adb server on a free port of loopback, which ends with the block or with this process.

    Raises:
        UserError: there is no adb program, or it does not start.
    """
    adb = PrivateAdb(await adb_binary(), _free_port())
    try:
        await adb.ensure_server()
        yield adb
    finally:
        await adb.end()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
