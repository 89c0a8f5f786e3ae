"""A phone is captured over a real adb, and a virtual phone answers as it did."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.adb import Adb
from harness.devices.android.facts import read_facts
from harness.devices.android.failures import TransportLostError
from harness.devices.android.server import adb_binary
from harness.emulation.capture.capture import capture, write
from harness.emulation.phone.start import virtual_phone
from harness.profiles import load_profile, load_profiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from harness.devices.android.phone import Phone
    from harness.emulation.capture.capture import Captured
    from harness.emulation.phone.start import VirtualPhone
    from harness.profiles import Profile

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]
DAY = "2026-03-14"
KNOWN = load_profiles()


@pytest.fixture
def adb() -> Iterator[Adb]:
    """An adb server of the test's own, ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Adb(port=port)
    asyncio.run(server.ensure_server())
    yield server
    binary = asyncio.run(adb_binary())
    subprocess.run([binary, "-P", str(port), "kill-server"], check=True, capture_output=True)


@asynccontextmanager
async def connected(
    adb: Adb, profile: Profile, work: Path
) -> AsyncIterator[tuple[Phone, VirtualPhone]]:
    async with virtual_phone(profile, work=work) as virtual:
        await adb.connect(virtual.address)
        try:
            yield adb.phone(virtual.address), virtual
        finally:
            await adb.disconnect(virtual.address)


async def taken(phone: Phone) -> Captured:
    return await capture(phone, KNOWN.values(), day=DAY, id_="captured")


def test_a_virtual_phone_answers_like_the_phone_that_was_captured(
    adb: Adb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def first() -> Captured:
        async with connected(adb, KNOWN["pixel7"], tmp_path / "first") as (phone, _):
            return await taken(phone)

    before = asyncio.run(first())
    path, dumps = write(before, tmp_path / "profiles")
    monkeypatch.setenv("TIERLAB_DUMPS", str(dumps.parent))
    battery = dumps / "dumpsys-battery.txt"
    battery.write_text(battery.read_text().replace("Li-ion", "Li-recorded"))

    async def second() -> tuple[Captured, str]:
        async with connected(adb, load_profile(path), tmp_path / "second") as (phone, virtual):
            again = await taken(phone)
            await virtual.control("battery", level=41, celsius=33.5)
            facts = await read_facts(phone, "com.android.chrome")
            assert facts.battery
            assert (facts.battery.percent, facts.battery.celsius) == (41, 33.5)
            return again, (await phone.run("dumpsys battery")).text

    after, said = asyncio.run(second())
    assert "Li-recorded" in said
    replayed = {dump.command: dump.text for dump in before.dumps if dump.replay}
    assert len(replayed) >= 6
    repeated = {dump.command: dump.text for dump in after.dumps if dump.replay}
    assert repeated.pop("dumpsys battery").replace("Li-recorded", "Li-ion") == replayed.pop(
        "dumpsys battery"
    )
    assert repeated == replayed
    assert after.toml == before.toml


def test_ctrl_c_leaves_nothing(adb: Adb, tmp_path: Path) -> None:
    out = tmp_path / "out"

    async def interrupted() -> int:
        async with connected(adb, KNOWN["pixel7"], tmp_path / "phone") as (phone, virtual):
            await virtual.control("slow", bytes_per_second=20_000, seconds=60)
            words = ["-c", _CAPTURE, phone.serial, str(out), str(adb.port)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT)}
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, env=environment, stdout=subprocess.PIPE
            )
            assert process.stdout
            async with asyncio.timeout(30):
                assert await process.stdout.readline() == b"asking\n"
                process.send_signal(signal.SIGINT)
                return await process.wait()

    assert asyncio.run(interrupted()) == 130
    assert not out.exists()


def test_a_phone_that_is_unplugged_leaves_nothing(adb: Adb, tmp_path: Path) -> None:
    async def unplugged() -> None:
        async with connected(adb, KNOWN["pixel7"], tmp_path / "phone") as (phone, virtual):

            def unplug(_what: str, done: int, _of: int) -> None:
                if done == 5:
                    pulling.append(asyncio.create_task(virtual.control("unplug", seconds=30)))

            pulling: list[asyncio.Task[object]] = []
            with pytest.raises(TransportLostError):
                await capture(phone, KNOWN.values(), day=DAY, progress=unplug)
            await asyncio.gather(*pulling)

    asyncio.run(unplugged())


# The command, telling when it is in the midst of asking.
_CAPTURE = """
import argparse, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from harness.emulation import commands

real = commands.capture
async def told(*arguments, progress, **options):
    def tell(what, done, of):
        if done == 5:
            print("asking", flush=True)
        progress(what, done, of)
    return await real(*arguments, progress=tell, **options)
commands.capture = told

parser = argparse.ArgumentParser()
commands.add_commands(parser.add_subparsers(required=True))
serial, out, port = sys.argv[1:]
words = ["profile", "capture", serial, "--out", out, "--adb-port", port]
try:
    options = parser.parse_args(words)
    sys.exit(options.func(options))
except KeyboardInterrupt:
    sys.exit(130)
"""
