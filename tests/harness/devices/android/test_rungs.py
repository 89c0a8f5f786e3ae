"""The rungs of phones on a server that answers as told; `test_healing.py` has a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.devices.android.rungs import phone_rungs, reboot, reconnect, restart_daemon
from harness.devices.power_cycle import PowerCycle
from harness.devices.recovery import Bounds, RungFailedError
from tests.harness.devices.android.server import SERIAL, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Adb
    from tests.harness.devices.android.server import FakeServer

ADDRESS = "10.0.0.7:5555"
WIRELESS = "adb-1A2B-x._adb-tls-connect._tcp"


def prelude(root: Path) -> str:
    """A phone that has booted, and whose boot is named in a file."""
    (root / "boot").write_text("first\n")
    return f"getprop() {{ echo 1; }}; pidof() {{ echo 1; }}; cat() {{ command cat {root}/boot; }}\n"


def test_a_phone_on_usb_is_connected_anew(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        assert await reconnect(adb.phone(SERIAL)) == "it is back"
        assert f"host-serial:{SERIAL}:reconnect" in fake.requests

    play(tmp_path, body, prelude=prelude(tmp_path))


def test_a_phone_over_the_network_is_dropped_and_connected(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        def connect(address: str) -> str:
            fake.devices[address] = "device"
            return f"connected to {address}"

        fake.connect = connect
        assert await reconnect(adb.phone(ADDRESS)) == "it is back"
        dropped = fake.requests.index(f"host:disconnect:{ADDRESS}")
        assert fake.requests.index(f"host:connect:{ADDRESS}") > dropped

    play(tmp_path, body, prelude=prelude(tmp_path), devices={ADDRESS: "offline"})


@pytest.mark.parametrize(
    ("serial", "service", "said"),
    [
        (SERIAL, "usb:", "restarting in USB mode\n"),
        (ADDRESS, "tcpip:5555", "restarting in TCP mode port: 5555\n"),
    ],
)
def test_the_daemon_restarts_in_its_mode(
    tmp_path: Path, serial: str, service: str, said: str
) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.services = {service: lambda: said}
        assert await restart_daemon(adb.phone(serial)) == "it is back"

    play(tmp_path, body, prelude=prelude(tmp_path), devices={serial: "device"})


@pytest.mark.parametrize(
    ("serial", "services", "reason"),
    [
        (SERIAL, {}, "closed"),
        (SERIAL, {"usb:": lambda: "no such thing"}, "the phone answers 'no such thing'"),
        (WIRELESS, {}, "wireless debugging cannot be restarted"),
    ],
)
def test_a_daemon_that_does_not_restart(
    tmp_path: Path, serial: str, services: dict[str, object], reason: str
) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(RungFailedError, match=reason):
            await restart_daemon(adb.phone(serial))

    play(
        tmp_path,
        body,
        prelude=prelude(tmp_path),
        devices={serial: "device"},
        services=services,
    )


def test_a_reboot_is_over_when_another_boot_is(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        def reboots() -> str:
            (tmp_path / "boot").write_text("second\n")
            return ""

        fake.services = {"reboot:": reboots}
        assert await reboot(adb.phone(SERIAL)) == "it is back"
        assert "reboot:" in fake.requests

    play(tmp_path, body, prelude=prelude(tmp_path))


def test_a_phone_that_is_gone_is_not_told_to_reboot(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        with pytest.raises(RungFailedError, match="does not answer, and cannot be told to"):
            await reboot(adb.phone(SERIAL))
        assert "reboot:" not in fake.requests

    play(tmp_path, body, devices={})


def test_the_power_is_the_last_rung_and_only_where_there_is_a_command(tmp_path: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        phone, bounds = adb.phone(SERIAL), Bounds(reboot=7)
        without = [rung.name for rung in phone_rungs(phone, None, bounds)]
        ladder = phone_rungs(phone, PowerCycle(("echo", "{serial}")), bounds)
        assert without == ["reconnect", "restart of its adb daemon", "reboot"]
        assert [rung.name for rung in ladder] == [*without, "power cycle"]
        assert ladder[2].seconds == 7
        assert await ladder[3].climb() == f"echo said: {SERIAL}; it is back"

    play(tmp_path, body, prelude=prelude(tmp_path))
