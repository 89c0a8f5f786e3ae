"""A tiny adb server with one phone behind it, in this process: its shell is this machine's.

It speaks the server's side of the protocol in so far as the harness uses it. Whether that is how
real servers speak is what `test_real_adb.py` is for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.devices.android.adb import Adb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

FEATURES = "shell_v2,cmd,stat_v2"
SERIAL = "phone-1"


def counted(text: str) -> bytes:
    return b"%04x" % len(text.encode()) + text.encode()


@dataclass
class FakeServer:
    """What the server says and does; tests change it while it runs.

    Attributes:
        prelude: shell text in front of every command: functions that answer as a phone would.
        root: the directory that paths of files are relative to.
        dead: serials of phones that are attached, and do not answer.
        services: what services of the phone's daemon do, and say.
    """

    root: Path
    prelude: str = ""
    devices: dict[str, str] = field(default_factory=lambda: {SERIAL: "device"})
    features: str = FEATURES
    version: str = "0029"
    connect: Callable[[str], str] = lambda address: f"failed to connect to {address}"
    dead: set[str] = field(default_factory=set)
    services: dict[str, Callable[[], str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    # What happens to a file on its way: tests damage it here.
    damage: Callable[[bytes], bytes] = lambda data: data
    refuse: str = ""
    port: int = 0
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    serving: set[asyncio.Task[None] | None] = field(default_factory=set)

    def unplug(self, state: str | None = None) -> None:
        """The phone is gone, or in another state; all that was under way to it ends."""
        if state is None:
            self.devices.pop(SERIAL, None)
        else:
            self.devices[SERIAL] = state
        for writer in list(self.open):
            writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        self.serving.add(asyncio.current_task())
        try:
            serial = None
            while True:
                text = (await reader.readexactly(int(await reader.readexactly(4), 16))).decode()
                self.requests.append(text)
                if text.startswith("host:transport:"):
                    serial = text.removeprefix("host:transport:")
                    writer.write(self._status(serial))
                    if serial not in self.devices:
                        return
                    continue
                if serial:
                    await self._phone(serial, text, reader, writer)
                else:
                    await self._host(text, writer)
                await writer.drain()
                return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            self.serving.discard(asyncio.current_task())
            writer.close()

    def _status(self, serial: str) -> bytes:
        state = self.devices.get(serial)
        if state == "device":
            return b"OKAY"
        return b"FAIL" + counted(f"device {state}" if state else f"device '{serial}' not found")

    async def _host(self, text: str, writer: asyncio.StreamWriter) -> None:
        if text == "host:version":
            writer.write(b"OKAY" + counted(self.version))
        elif text == "host:devices":
            rows = "".join(f"{serial}\t{state}\n" for serial, state in self.devices.items())
            writer.write(b"OKAY" + counted(rows))
        elif text.startswith("host:connect:"):
            writer.write(b"OKAY" + counted(self.connect(text.removeprefix("host:connect:"))))
        elif text.startswith("host:disconnect:"):
            self.devices.pop(text.removeprefix("host:disconnect:"), None)
            writer.write(b"OKAY" + counted("disconnected"))
        elif text.startswith("host-serial:") and text.endswith(":features"):
            serial = text.removeprefix("host-serial:").removesuffix(":features")
            status = self._status(serial)
            writer.write(status + (counted(self.features) if status == b"OKAY" else b""))
        else:
            writer.write(b"FAIL" + counted(f"unknown host service {text!r}"))

    async def _phone(
        self, serial: str, text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if serial in self.dead:
            writer.write(b"OKAY")
            await reader.read()
        kind, _, rest = text.partition(":")
        if kind in {"shell,v2,raw", "exec"}:
            writer.write(b"OKAY")
            await self._shell(f"SERIAL={serial}\n{rest}", reader, writer, packets=kind != "exec")
        elif kind == "sync":
            writer.write(b"OKAY")
            await self._sync(reader, writer)
        elif text in self.services:
            writer.write(b"OKAY" + self.services[text]().encode())
        else:
            writer.write(b"FAIL" + counted("closed"))

    async def _shell(
        self,
        command: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        packets: bool,
    ) -> None:
        process = await asyncio.create_subprocess_exec(
            "sh",
            "-c",
            f"{self.prelude}\n{command}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE if packets else asyncio.subprocess.STDOUT,
            cwd=self.root,
            env={**os.environ, "ROOT": str(self.root)},
            start_new_session=True,
        )

        async def copy(stream: asyncio.StreamReader | None, kind: int) -> None:
            while stream and (data := await stream.read(1 << 16)):
                writer.write((struct.pack("<BI", kind, len(data)) if packets else b"") + data)
                await writer.drain()

        async def gone() -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            kill()

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

        watch = asyncio.create_task(gone())
        try:
            await asyncio.gather(copy(process.stdout, 1), copy(process.stderr, 2))
            code = await process.wait()
        finally:
            watch.cancel()
            if process.returncode is None:
                kill()
                await process.wait()
        if packets:
            writer.write(struct.pack("<BIB", 3, 1, code & 0xFF))

    async def _sync(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        word, size = struct.unpack("<4sI", await reader.readexactly(8))
        name = (await reader.readexactly(size)).decode()
        path = self.root / name.rpartition(",")[0 if word == b"SEND" else 2].lstrip("/")
        if word == b"STA2":
            found = path.stat() if path.exists() else None
            numbers = (found.st_mode, 1, 0, 0, found.st_size) if found else (0, 0, 0, 0, 0)
            error = 0 if found else 2
            writer.write(struct.pack("<4sIQQIIIIQqqq", word, error, 0, 0, *numbers, 0, 0, 0))
        elif word == b"STAT":
            found = path.stat() if path.exists() else None
            numbers = (found.st_mode, found.st_size, 0) if found else (0, 0, 0)  # type: ignore[assignment]
            writer.write(struct.pack("<4sIII", word, *numbers))
        elif word == b"RECV":
            data = path.read_bytes() if path.exists() else None
            if data is None:
                reason = b"open failed: No such file or directory"
                writer.write(struct.pack("<4sI", b"FAIL", len(reason)) + reason)
                return
            for start in range(0, len(data), 1 << 16):
                piece = data[start : start + (1 << 16)]
                writer.write(struct.pack("<4sI", b"DATA", len(piece)) + self.damage(piece))
            writer.write(struct.pack("<4sI", b"DONE", 0))
        elif word == b"SEND":
            await self._take(path, reader, writer)

    async def _take(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if self.refuse:
            reason = self.refuse.encode()
            writer.write(struct.pack("<4sI", b"FAIL", len(reason)) + reason)
            await writer.drain()
        data = bytearray()
        while True:
            word, size = struct.unpack("<4sI", await reader.readexactly(8))
            if word == b"DONE":
                break
            data += await reader.readexactly(size)
        if not self.refuse:
            self._store(path, bytes(data))
            writer.write(struct.pack("<4sI", b"OKAY", 0))

    def _store(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.damage(data))


@asynccontextmanager
async def fake_server(root: Path, **changes: Any) -> AsyncIterator[tuple[FakeServer, Adb]]:
    """A server on a free port of this machine, and the harness's side of it."""
    fake = FakeServer(root, **changes)
    listening = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = listening.sockets[0].getsockname()[1]
    try:
        yield fake, Adb(port=fake.port)
    finally:
        listening.close()
        for writer in list(fake.open):
            writer.transport.abort()
        # A command that was under way is killed, and its pipes are closed, before the loop is.
        await asyncio.gather(*(task for task in fake.serving if task), return_exceptions=True)


def play(root: Path, body: Callable[[FakeServer, Adb], Awaitable[None]], **changes: Any) -> None:
    """Run a test's coroutine against a fake server, within a bound."""

    async def whole() -> None:
        async with asyncio.timeout(30), fake_server(root, **changes) as (fake, adb):
            await body(fake, adb)

    asyncio.run(whole())
