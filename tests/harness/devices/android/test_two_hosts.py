"""Two hosts and one phone: each has a state directory and an adb server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.lease_note import FOLDER
from harness.devices.android.private import private_server
from harness.devices.android.server import adb_binary
from harness.emulation.phone.start import virtual_phone
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

PIXEL7 = load_profiles()["pixel7"]
ROOT = Path(__file__).parents[4]
WITHIN = 60
# Takes the phone as soon as nobody else has it; then does what it is told.
RUN = """
import asyncio, sys
from harness.devices.android import lease_format, lease_note
from harness.devices.android.lease_note import held_on_phone
from harness.devices.android.private import private_server
from harness.devices.base import DeviceLostError, HeldElsewhereError
from harness.devices.lease import lease

address, name, expiry = sys.argv[1], sys.argv[2], float(sys.argv[3])
lease_format.EXPIRY_SECONDS, lease_note.BEAT_SECONDS = expiry, expiry / 10

def tell(*words):
    print(*words, flush=True)

async def hold(adb):
    told = False
    while True:
        phone = adb.phone(address)
        try:
            async with held_on_phone(phone, "phone-x", say=tell) as note:
                tell("held")
                await asyncio.to_thread(sys.stdin.readline)
                tell("overtaken:", await note.overtaken())
                try:
                    await phone.run("echo; echo")
                except DeviceLostError as error:
                    tell(type(error).__name__)
            return
        except HeldElsewhereError as error:
            if not told:
                tell(error.problem)
            told = True
            await asyncio.sleep(0.1)

async def main():
    async with private_server() as adb:
        await adb.connect(address)
        with lease("phone-x", owner=name, wait_seconds=30):
            await hold(adb)

asyncio.run(main())
"""


class Host:
    """One run on a host."""

    def __init__(self, state: Path, address: str, name: str, expiry: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", RUN, address, name, str(expiry)],
            env={**os.environ, "TIERLAB_STATE": str(state)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    async def says(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN):
            return (await asyncio.to_thread(self._process.stdout.readline)).strip()

    def is_told(self) -> None:
        """Go on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def hosts() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def test_two_hosts_never_have_one_phone(tmp_path: Path, hosts: contextlib.ExitStack) -> None:
    def host(state: str, address: str, name: str, expiry: float) -> Host:
        started = Host(tmp_path / state, address, name, expiry)
        hosts.callback(started.end)
        return started

    async def main() -> None:
        async with (
            asyncio.timeout(2 * WITHIN),
            virtual_phone(PIXEL7, work=tmp_path / "phone") as phone,
            private_server() as adb,
        ):
            first = host("first", phone.address, "run 1", 3)
            assert await first.says() == "held"
            await adb.connect(phone.address)
            listed = await asyncio.to_thread(
                subprocess.run,
                [await adb_binary(), "-s", phone.address, "shell", f"ls -l {FOLDER}"],
                env={**os.environ, "ANDROID_ADB_SERVER_PORT": str(adb.port)},
                capture_output=True,
                text=True,
                check=True,
            )
            assert '1 -> {"host":' in listed.stdout
            assert '"owner":"run 1"' in listed.stdout

            second = host("second", phone.address, "run 2", 3)
            assert (await second.says()).startswith("the phone is in use by run 1 on ")
            first.signal(signal.SIGSTOP)  # as if cut off: no more signs
            assert (await second.says()).startswith("taking the phone from run 1 on ")
            assert await second.says() == "held"
            first.signal(signal.SIGCONT)
            first.is_told()
            assert (await first.says()).startswith("overtaken: another run took the phone over")
            assert await first.says() == "PhoneTakenError"

            # What a killed run leaves does not hold up the next one on its host.
            second.signal(signal.SIGKILL)
            third = host("second", phone.address, "run 3", 300)
            assert await third.says() == "held"
            other = host("first", phone.address, "run 4", 300)
            assert (await other.says()).startswith("the phone is in use by run 3 on ")
            third.is_told()
            assert await third.says() == "overtaken: None"
            assert await phone.unknown_commands() == {}

    asyncio.run(main())
