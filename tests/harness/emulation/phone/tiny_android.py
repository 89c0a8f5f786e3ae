"""The least Android that a daemon can boot: a few commands that say what they were given."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.emulation.phone.command import Command, CommandIO, Place
    from harness.profiles import Profile


def host_paths(profile: Profile) -> Sequence[Path]:
    del profile
    return ()


def create(place: Place) -> TinyAndroid:
    return TinyAndroid(place)


class TinyAndroid:
    def __init__(self, place: Place) -> None:
        self._place = place
        self.boots = 0
        self.properties: dict[str, str] = {
            "ro.product.name": "tiny",
            "ro.product.model": "Tiny; Phone",
            "ro.product.device": "tiny",
            "ro.tierlab.virtual": "1",
        }
        self.commands: Mapping[str, Command] = {
            "getprop": self._getprop,
            "logcat": self._logcat,
            "swallow": self._swallow,
            "fails": self._fails,
            "breaks": self._breaks,
        }
        self._group: list[asyncio.subprocess.Process] = []
        self._lines = 0

    async def start(self) -> None:
        self.boots += 1
        self.properties["sys.boot_completed"] = "1"
        self.properties["test.boots"] = str(self.boots)

    async def stop(self) -> None:
        self.properties.pop("sys.boot_completed", None)
        for process in self._group:
            if process.returncode is None:
                process.kill()
                await process.wait()
        self._group.clear()

    async def control(self, action: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        if action == "eat":  # a process in the group that fills memory
            scope = self._place.scope
            assert scope is not None
            process = await asyncio.create_subprocess_exec(
                *scope.prefix, "/bin/sh", "-c", "read go; head -c 1G /dev/zero | tail",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            self._group.append(process)
            async with asyncio.timeout(10):
                while process.pid not in scope.pids():  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.02)
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            await process.stdin.drain()
            await process.wait()
            return {"oom_kills": scope.oom_kills(), "left": len(scope.pids())}
        if action == "echo":
            return dict(arguments)
        raise UserError(f"no action {action!r}", "try echo")

    async def _getprop(self, argv: Sequence[str], io: CommandIO) -> int:
        if len(argv) > 1:
            await io.out(self.properties.get(argv[1], "") + "\n")
        else:
            await io.out("".join(f"[{k}]: [{v}]\n" for k, v in self.properties.items()))
        return 0

    async def _logcat(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv
        while True:
            self._lines += 1
            await io.out(f"I/Tiny: line {self._lines}\n")
            await asyncio.sleep(0.01)

    async def _swallow(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv
        total = 0
        while data := await io.stdin():
            total += len(data)
        await io.out(f"{total}\n")
        return 0

    async def _fails(self, argv: Sequence[str], io: CommandIO) -> int:
        await io.err(f"fails: {' '.join(argv[1:])}\n")
        return 42

    async def _breaks(self, argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        raise RuntimeError("broken on purpose")
