"""A phone's Android without a daemon: its commands are called directly."""

from __future__ import annotations

import asyncio
import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.emulation.phone.android.system import AndroidSystem
from harness.emulation.phone.command import Place
from harness.profiles import PROFILES_DIRECTORY, load_profile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from harness.emulation.limits import Scope
    from harness.profiles import Profile

PIXEL = load_profile(PROFILES_DIRECTORY / "pixel7.toml")
CHROME = "com.android.chrome"
ACTIVITY = f"{CHROME}/com.google.android.apps.chrome.Main"


@dataclass
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str
    data: bytes


@dataclass
class Streams:
    """A command's streams in memory."""

    typed: list[bytes] = field(default_factory=list)
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)

    async def out(self, data: str | bytes) -> None:
        self.stdout += data.encode() if isinstance(data, str) else data

    async def err(self, data: str | bytes) -> None:
        self.stderr += data.encode() if isinstance(data, str) else data

    async def stdin(self) -> bytes:
        return self.typed.pop(0) if self.typed else b""


class Handset:
    """One Android, with its file system in a folder."""

    def __init__(self, root: Path, profile: Profile = PIXEL, scope: Scope | None = None) -> None:
        self.unknown: Counter[str] = Counter()
        (root / "data/local/tmp").mkdir(parents=True, exist_ok=True)
        self.place = Place(
            profile=profile,
            identity=f"test-{root.name}",
            root=root,
            private_network=False,
            scope=scope,
            unknown=lambda name: self.unknown.update([name]),
        )
        self.system = AndroidSystem(self.place)
        self.state = self.system.phone.state

    async def run(self, line: str, typed: bytes = b"") -> Said:
        """Run a command line without a shell: words only."""
        argv = shlex.split(line)
        io = Streams([typed] if typed else [])
        async with asyncio.timeout(60):
            code = await self.system.commands[argv[0]](argv, io)
        return Said(
            code, io.stdout.decode("utf-8", "replace"), io.stderr.decode(), bytes(io.stdout)
        )

    def say(self, line: str, typed: bytes = b"") -> Said:
        return asyncio.run(self.run(line, typed))


async def until(condition: Callable[[], Awaitable[bool]], within: float = 20.0) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(within):
        while not await condition():  # noqa: ASYNC110 - what it asks tells nobody
            await asyncio.sleep(0.02)
