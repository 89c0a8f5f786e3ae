"""Phones that are lost while they work: real adb, real faults, the whole way back to health."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from harness.devices.device_state import Condition, load
from harness.devices.lease import lease
from harness.devices.places import PlacesSettings
from harness.devices.power_cycle import PowerCycle
from harness.devices.recovery import Bounds
from harness.laboratory import Laboratory, LaboratorySettings
from harness.trial import TrialSettings
from results.fleet.events import EventKind, events
from results.store import Store
from tests.harness.emulation.phone.real import PIXEL, ROOT, AdbServer, needs_adb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.leasing import Leased

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED, virtual phones need Linux"),
]

QUICK = Bounds(reconnect=3.0, restart=5.0, reboot=30.0, power_cycle=60.0)
FOR_EVER = 3600
START = "import sys; from harness.cli import main; sys.exit(main())"


class Phone:
    """`tierlab phone start`, and what is typed to it."""

    def __init__(self, folder: Path) -> None:
        self.fifo = folder / "typed"
        os.mkfifo(self.fifo)
        self._input = os.open(self.fifo, os.O_RDWR)  # never ends while this is open
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, "phone", "start", "pixel7", "--work", str(folder)],
            stdin=self._input,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def address(self) -> str:
        """Where it listens, once it does."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if found := re.search(r"127\.0\.0\.1:\d+", line):
                return found.group()
        raise AssertionError("it did not start")

    def type(self, line: str) -> None:
        os.write(self._input, f"{line}\n".encode())

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        os.close(self._input)


class Lab:
    """Two phones of one profile on an adb server of their own, and a laboratory on them."""

    def __init__(self, folder: Path, phones: list[Phone], adb: AdbServer) -> None:
        self.folder = folder
        self.adb = adb
        self.phones = {phone.address(): phone for phone in phones}
        self.said: list[str] = []
        self.on_say: Callable[[str], None] = lambda _: None
        self.worked: list[str] = []
        self.pull_at: list[str] = []

    def connect(self, *addresses: str) -> None:
        for address in addresses:
            assert "connected to" in self.adb.said("connect", address)

    def open(self, power_cycle: PowerCycle | None = None) -> Laboratory:
        places = PlacesSettings(power_cycle=power_cycle, bounds=QUICK)
        trial = TrialSettings("run-1", self.folder / "results")
        with Store.open(trial.results) as store:
            store.start_run("run-1", "")
        return Laboratory(LaboratorySettings(trial, places=places), self.say)

    def say(self, text: str) -> None:
        self.said.append(text)
        self.on_say(text)

    async def work(self, at: Leased) -> str:
        """What a trial does, in short; the plug is pulled in the middle of it where that is due."""
        serial = at.device.phone.serial  # type: ignore[attr-defined]
        self.worked.append(serial)
        if self.pull_at:
            self.phones[serial].type(self.pull_at.pop())
            while True:  # until the phone is lost: each command is bounded
                await at.device.phone.run(["sleep", "0.1"])  # type: ignore[attr-defined]
        await at.device.facts()
        return str(serial)

    def journal(self) -> list[str]:
        with Store.open(self.folder / "results") as store:
            found = events(store, run_id="run-1", kinds=[EventKind.HEALTH])
        return [event.text for event in found]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    adb = AdbServer(needs_adb()[0])
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", adb.environment["ANDROID_ADB_SERVER_PORT"])
    with ExitStack() as stack:
        stack.callback(adb.end)
        phones = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            phones.append(Phone(tmp_path / name))
            stack.callback(phones[-1].end)
        yield Lab(tmp_path, phones, adb)


def resource(address: str) -> str:
    return "phone-" + address.replace(":", "_")


def test_from_lost_to_ready_and_from_lost_to_another_phone(lab: Lab) -> None:
    first, second = sorted(lab.phones)
    hub = lab.folder / "hub"
    hub.write_text('#!/bin/sh\necho plug > "$2" && echo "power of $1: off, on"\n')
    hub.chmod(0o755)
    cycle = PowerCycle((str(hub), "{serial}", str(lab.phones[first].fifo)))
    lab.connect(first)
    with lab.open(cycle) as laboratory:
        # Unplugged for a moment: the work is lost, and the first rung is enough.
        lab.pull_at = ["unplug seconds=1"]
        assert laboratory._leasing.insist("one", PIXEL, lab.work) == first
        assert lab.worked == [first, first]
        assert load(resource(first)).condition is Condition.READY
        ill, climbed, well = lab.journal()
        assert ill.startswith(f"{resource(first)} is unhealthy: ")
        assert climbed.startswith(f"{resource(first)}: reconnect, ")
        assert well.startswith(f"{resource(first)} is ready: it answers")

        # Unplugged until somebody switches its port: only the command brings it back.
        lab.pull_at = [f"unplug seconds={FOR_EVER}"]
        assert laboratory._leasing.insist("two", PIXEL, lab.work) == first
        told = lab.journal()[3:]
        assert [line.partition(": ")[2].partition(",")[0] for line in told[1:5]] == [
            "reconnect",
            "restart of its adb daemon",
            "reboot",
            "power cycle",
        ]
        assert f"hub said: power of {first}: off, on; it is back; health check passed" in told[4]

    lab.connect(second)
    lab.worked.clear()
    with lab.open() as laboratory, ExitStack() as elsewhere:
        # It stays away. The other phone is in use, so this one is tried, and given up.
        elsewhere.enter_context(lease(resource(second), owner="another run"))

        def let_go(text: str) -> None:
            if text.startswith(f"waiting for {resource(second)}"):
                elsewhere.close()

        lab.on_say = let_go
        lab.pull_at = [f"unplug seconds={FOR_EVER}"]
        assert laboratory._leasing.insist("three", PIXEL, lab.work) == second
        assert lab.worked == [first, second]
        given_up = load(resource(first))
        assert given_up.condition is Condition.QUARANTINED
        assert given_up.until is not None
        assert f"{resource(first)} is quarantined until " in lab.journal()[-1]
        assert load(resource(second)).condition is Condition.READY

        # From now on only the other one gets work.
        assert laboratory._leasing.insist("four", PIXEL, lab.work) == second
