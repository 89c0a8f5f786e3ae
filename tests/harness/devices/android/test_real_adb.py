"""Against real adb servers: the PATH's and the one that adbutils brings, with a virtual phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import adbutils
import pytest

from harness.devices.android import artifacts, server, settings
from harness.devices.android.adb import Adb, CommandError, Phone, TransportLostError
from harness.devices.android.discovery import find_phone
from harness.devices.android.facts import read_facts
from harness.devices.android.gates import cool_down, gates
from harness.emulation.phone.start import VirtualPhone, virtual_phone
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness.profiles import Profile

pytestmark = pytest.mark.integration

PIXEL7 = load_profiles()["pixel7"]
CHROME = "com.android.chrome"
BUNDLED = Path(adbutils.__file__).parent / "binaries" / "adb"
FOUND = shutil.which("adb")
# Without a program of its own on the PATH, a machine has one server to be tested with.
BINARIES = [str(BUNDLED), *([FOUND] if FOUND else [])]
FILE_BYTES = 5_000_000
BACK_SECONDS = 30


@dataclass(frozen=True)
class Lab:
    adb: Adb
    virtual: VirtualPhone
    phone: Phone
    profile: Profile
    folder: Path


@pytest.fixture(params=BINARIES, ids=["bundled", "path"][: len(BINARIES)])
def binary(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The program that a server is started from."""
    chosen = str(request.param)

    async def always() -> str:
        return chosen

    monkeypatch.setattr(server, "adb_binary", always)
    return chosen


@asynccontextmanager
async def lab(folder: Path) -> AsyncIterator[Lab]:
    """A server of our own, and a virtual phone on it."""
    adb = Adb(port=free_port())
    try:
        async with asyncio.timeout(90), virtual_phone(PIXEL7, work=folder / "phone") as virtual:
            found = await find_phone(adb, PIXEL7, serial=virtual.address)
            yield Lab(adb, virtual, adb.phone(found.serial), PIXEL7, folder)
    finally:
        await stop_server(adb)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


async def stop_server(adb: Adb) -> None:
    with contextlib.suppress(TransportLostError):
        async with asyncio.timeout(10), adb.stream() as stream:
            await stream.request("host:kill")


def test_commands_files_ports_and_facts(binary: str, tmp_path: Path) -> None:
    async def body() -> None:
        async with lab(tmp_path) as here:
            await commands(here)
            await files(here)
            await ports(here)
            await what_it_is(here)

    assert binary
    asyncio.run(body())


async def commands(here: Lab) -> None:
    phone = here.phone
    assert await phone.output("printf '\\000\\377'; echo err >&2; exit 3", check=False) == b"\0\xff"
    words = ["a  b", "$HOME", "it's", "x;y", "ü"]
    said = (await phone.run(["printf", "<%s>", *words])).text
    assert said == "".join(f"<{word}>" for word in words)
    with pytest.raises(CommandError, match="exit code 127"):
        await phone.run("no-such-command")
    # adbutils' own client of the same server sees the same.
    client = adbutils.AdbClient(port=here.adb.port)
    listed = await asyncio.to_thread(client.list)
    assert [(d.serial, d.state) for d in listed] == [(phone.serial, "device")]
    model = (await phone.properties())["ro.product.model"]
    assert model == await asyncio.to_thread(
        client.device(phone.serial).shell, "getprop ro.product.model"
    )
    async with contextlib.aclosing(phone.lines(["logcat"])) as lines:
        await phone.run(["log", "-t", "tierlab", "hello log"])
        async with asyncio.timeout(10):
            async for line in lines:
                if "hello log" in line:
                    break


async def files(here: Lab) -> None:
    local, back = here.folder / "local", here.folder / "back"
    local.write_bytes(os.urandom(FILE_BYTES))
    told: list[int] = []
    remote = "/data/local/tmp/new folder/it's a file"
    await here.phone.push(local, remote, lambda sent, _: told.append(sent))
    await here.phone.pull(remote, back)
    assert back.read_bytes() == local.read_bytes()
    assert told[-1] == FILE_BYTES
    listed = await here.phone.run(["ls", "/data/local/tmp/new folder"])
    assert listed.text.splitlines() == ["it's a file"]
    with pytest.raises(CommandError, match="no such file"):
        await here.phone.pull("/data/none", back)


async def ports(here: Lab) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"from the host")
        await writer.drain()
        writer.close()

    serving = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = serving.sockets[0].getsockname()[1]
    remote = f"tcp:{free_port()}"  # without namespaces, the phone's ports are this machine's
    # There by `reverse`, and back by `forward`: the page's way, and the debugger's.
    async with (
        here.phone.reverse(remote, f"tcp:{port}"),
        here.phone.forward(remote) as forwarded,
    ):
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", forwarded)
            assert await reader.read() == b"from the host"
        writer.close()
        await writer.wait_closed()
    serving.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", forwarded)


async def what_it_is(here: Lab) -> None:
    async with settings.prepared(here.phone) as failed:
        assert failed == ()
        facts = await read_facts(here.phone, CHROME)
        assert facts.emulated
        assert set(facts.missing) <= {"vulkan_driver"}
        assert {gate.name for gate in gates(facts, here.profile) if not gate.passed} == set()
        assert await artifacts.screenshot(here.phone, here.folder / "screen.png")
    assert not await settings.put_back(here.phone)
    await here.virtual.control("thermal", status=2, celsius=50)
    assert not (await cool_down(here.phone, within=0)).came
    await here.virtual.control("battery", level=5)
    closed = {
        g.name for g in gates(await read_facts(here.phone, CHROME), here.profile) if not g.passed
    }
    assert closed == {"thermal status", "battery level"}
    assert await here.virtual.unknown_commands() == {"no-such-command": 1}


def test_lost_and_found_again(binary: str, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(os.urandom(8 * FILE_BYTES))

    async def lost(here: Lab, action: str, **arguments: float) -> None:
        """Something happens in the middle of a command, a stream and a push: each is told."""
        phone, sending = here.phone, asyncio.Event()
        stream = asyncio.create_task(anext(phone.lines("sleep 60")))
        command = asyncio.create_task(phone.run("sleep 60; echo never", within=60))
        push = asyncio.create_task(
            phone.push(local, "/data/local/tmp/big", lambda *_: sending.set())
        )
        await sending.wait()
        if action == "kill the server":
            await stop_server(here.adb)
        else:
            await here.virtual.control(action, **arguments)
        for task in (stream, command, push):
            with pytest.raises(TransportLostError):
                await task
        assert await phone.wait_until_back(within=BACK_SECONDS)
        assert (await phone.run("echo again")).text == "again\n"

    async def body() -> None:
        async with lab(tmp_path) as here:
            await here.virtual.control("slow", bytes_per_second=4e6, seconds=3600)
            await lost(here, "unplug", seconds=0.5)
            await lost(here, "kill the server")
            await lost(here, "kill_daemon")
            assert not await here.adb.phone("X1").wait_until_back(within=0.5)

    assert binary
    asyncio.run(body())
