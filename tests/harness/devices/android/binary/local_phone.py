"""This machine's shell in place of a phone's: what is run is real, only the transport is not."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.android.adb import (
    Adb,
    CommandError,
    CommandTimeoutError,
    Output,
    Phone,
    TransportLostError,
)
from harness.devices.android.shell import command_line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

#: Android's own shell is mksh; the other is a stricter reading of POSIX.
SHELLS = [path for path in (shutil.which("mksh"), "/bin/sh") if path]


class LocalPhone(Phone):
    """A phone whose commands run here.

    Args:
        shell: that runs them.
        properties: system properties.
        log: whether there is a log that can be read.
    """

    def __init__(self, shell: str, properties: dict[str, str] | None = None) -> None:
        super().__init__(Adb(port=1), "local")
        self._shell_path = shell
        self._properties = properties or {}
        self.lost = False
        self.ignores_pipes = False
        self.commands: list[str] = []

    async def run(
        self, command: str | Sequence[str], *, within: float = 20.0, check: bool = True
    ) -> Output:
        line = command_line(command)
        self.commands.append(line)
        if self.lost:
            raise TransportLostError("unplugged")
        process = await self._start(line)
        try:
            async with asyncio.timeout(within):
                out, err = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise CommandTimeoutError(line, within) from error
        code = process.returncode or 0
        if check and code:
            raise CommandError(line, code, (out + err).decode())
        return Output(out.decode(errors="replace"), code, err.decode(errors="replace"))

    async def output(
        self, command: str | Sequence[str], *, within: float = 20.0, check: bool = True
    ) -> bytes:
        return (await self.run(command, within=within, check=check)).text.encode()

    async def lines(self, command: str | Sequence[str]) -> AsyncGenerator[str]:
        line = command_line(command)
        if line.startswith("logcat"):
            raise CommandError(line, 127, "not found")
        process = await self._start(line)
        assert process.stdout is not None
        try:
            while data := await process.stdout.readline():
                if self.lost:
                    raise TransportLostError("unplugged")
                yield data.decode(errors="replace").rstrip("\n")
        finally:
            # As adb does: the connection is gone, and the script finds out when it writes.
            process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
            await process.wait()

    async def properties(self) -> dict[str, str]:
        return self._properties

    async def push(
        self,
        local: Path,
        remote: str,
        progress: Callable[[int, int], None] = lambda _sent, _of: None,
    ) -> None:
        size = await asyncio.to_thread(_copy, local, Path(remote))
        progress(size, size)

    async def _start(self, line: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            self._shell_path,
            "-c",
            line,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # As adb's daemon may do: a shell whose reader is gone is not told by SIGPIPE.
            restore_signals=not self.ignores_pipes,
        )


def _copy(local: Path, remote: Path) -> int:
    shutil.copyfile(local, remote)
    remote.chmod(0o755)
    return remote.stat().st_size
