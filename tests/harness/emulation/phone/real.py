"""A real adb server on a port of its own, and a process that runs a phone."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness.profiles import PROFILES_DIRECTORY, load_profile

if TYPE_CHECKING:
    from collections.abc import Sequence

PIXEL = load_profile(PROFILES_DIRECTORY / "pixel7.toml")
TINY = "tests.harness.emulation.phone.tiny_android"
ROOT = Path(__file__).parents[4]
WITHIN = 30


def adb_programs() -> list[str]:
    """The PATH's adb (Debian's is version 29) and the one that adbutils brings (version 36)."""
    found = [shutil.which("adb")]
    spec = importlib.util.find_spec("adbutils")
    if spec is not None and spec.origin is not None:
        found.append(str(Path(spec.origin).parent / "binaries/adb"))
    return [program for program in found if program and Path(program).exists()]


class AdbServer:
    """One server, of one program."""

    def __init__(self, program: str) -> None:
        self.program = program
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.environment = {**os.environ, "ANDROID_ADB_SERVER_PORT": str(port)}

    def run(self, *words: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [self.program, *words],
            input=typed,
            capture_output=True,
            timeout=WITHIN,
            check=False,
            env=self.environment,
        )

    def said(self, *words: str, typed: bytes = b"") -> str:
        """What one command prints; it must succeed."""
        done = self.run(*words, typed=typed)
        assert done.returncode == 0, (words, done)
        return done.stdout.decode()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
        )

    def state(self, serial: str) -> str | None:
        """What the server calls the phone; None where it does not know it."""
        rows = (line.split("\t") for line in self.said("devices").splitlines())
        return next((row[1] for row in rows if row[0] == serial), None)

    async def connected(self, address: str) -> None:
        """Connect, again and again, until the phone answers."""
        async with asyncio.timeout(WITHIN):
            while await asyncio.to_thread(self.state, address) != "device":
                await asyncio.to_thread(self.run, "disconnect", address)
                await asyncio.to_thread(self.run, "connect", address)
                await asyncio.sleep(0.05)

    async def until_not(self, address: str, state: str) -> None:
        """Wait until the server calls the phone something else."""
        async with asyncio.timeout(WITHIN):
            while await asyncio.to_thread(self.state, address) == state:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def end(self) -> None:
        self.run("kill-server")


class PhoneProcess:
    """A harness in a process of its own that runs one phone until its input closes."""

    def __init__(self, work: Path, *, prefix: Sequence[str] = (), isolate: bool = True) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, __file__, str(work), *([] if isolate else ["open"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd="/",
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the phone did not start"
        self.ready: dict[str, Any] = json.loads(line)
        self.address: str = self.ready["address"]

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(WITHIN)


def processes_of(phone: int) -> set[int]:
    """A process and all that descend from it."""
    found = {phone}
    for file in Path(f"/proc/{phone}/task").glob("*/children"):
        for child in file.read_text("ascii").split():
            found |= processes_of(int(child))
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is more than an unreaped remainder."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def needs_adb() -> list[str]:
    programs = adb_programs()
    if not programs:
        pytest.skip("NOT TESTED, there is no adb here")
    return programs


async def _run(work: str, *, isolate: bool) -> None:
    from harness.emulation.phone.start import virtual_phone  # noqa: PLC0415 - only in the process

    async with virtual_phone(PIXEL, work=Path(work), android=TINY, isolate=isolate) as phone:
        ready = {
            "address": phone.address,
            "isolation": phone.isolation,
            "limited": phone.limited,
            "missing": phone.missing,
            "pid": phone.pid,
        }
        print(json.dumps(ready), flush=True)  # noqa: T201 - read by the test
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], isolate="open" not in sys.argv))
