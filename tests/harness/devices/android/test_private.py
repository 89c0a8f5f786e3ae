from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from harness.devices.android.adb import Adb, TransportLostError
from harness.devices.android.private import private_server

ROOT = Path(__file__).parents[4]

pytestmark = pytest.mark.integration

HOLD = """
import asyncio, sys
from harness.devices.android.private import private_server

async def main():
    async with private_server() as adb:
        if "again" in sys.argv:
            adb._process.kill()
            await adb._process.wait()
            await adb.ensure_server()
        print(adb.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


async def _until_gone(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await Adb(port=port).attached()
            except TransportLostError:
                return
            await asyncio.sleep(0.05)


def test_it_sees_no_phones_and_ends_with_its_block() -> None:
    async def main() -> int:
        async with private_server() as adb:
            assert await adb.attached() == []
            return adb.port

    asyncio.run(_until_gone(asyncio.run(main())))


def test_a_server_in_its_place_ends_as_well() -> None:
    async def main() -> int:
        async with private_server() as adb:
            with contextlib.suppress(TransportLostError):  # its answer may not come any more
                await adb.query("host:kill", within=5)
            await _until_gone(adb.port)
            await adb.ensure_server()
            return adb.port

    asyncio.run(_until_gone(asyncio.run(main())))


@pytest.mark.parametrize("words", [[], ["again"]], ids=["the first", "one in its place"])
def test_it_ends_with_a_harness_that_is_killed(words: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        port = int(process.stdout.readline())
        asyncio.run(Adb(port=port).attached())
        process.kill()
    asyncio.run(_until_gone(port))
