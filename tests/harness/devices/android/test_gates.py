from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.adb import TransportLostError
from harness.devices.android.facts import PhoneFacts
from harness.devices.android.facts.battery import Battery
from harness.devices.android.facts.thermal import Thermal
from harness.devices.android.gates import GateLimits, cool_down, gates
from harness.profiles import load_profiles
from tests.harness.devices.android.server import SERIAL, FakeServer, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Adb
    from harness.devices.base import Gate

PIXEL7 = load_profiles()["pixel7"]
BATTERY = Battery(80.0, 30.0, "charging", ("usb",), faked=False)
THERMAL = Thermal(0, (), stale=False, overridden=False, has_thresholds=True)
GOOD = PhoneFacts(
    battery=BATTERY,
    thermal=THERMAL,
    storage_free_bytes=50 << 30,
    available_bytes=3 << 30,
    screen_on=True,
    unlocked=True,
    chrome_version="144.0.7339.81",
)
NAMES = {
    "battery level",
    "battery temperature",
    "com.android.chrome",
    "free memory",
    "free storage",
    "lock screen",
    "power source",
    "screen",
    "thermal status",
}


def closed(facts: PhoneFacts, limits: GateLimits | None = None) -> dict[str, Gate]:
    found = gates(facts, PIXEL7, limits or GateLimits())
    assert {gate.name for gate in found} == NAMES
    return {gate.name: gate for gate in found if not gate.passed}


def test_a_phone_that_is_ready() -> None:
    assert closed(GOOD) == {}


@pytest.mark.parametrize(
    ("facts", "name", "observed", "limit"),
    [
        (
            replace(GOOD, battery=replace(BATTERY, percent=29.0)),
            "battery level",
            "29 %",
            "at least 30 %",
        ),
        (
            replace(GOOD, battery=replace(BATTERY, celsius=38.1)),
            "battery temperature",
            "38.1 °C",
            "at most 38 °C",
        ),
        (
            replace(GOOD, thermal=replace(THERMAL, status=1)),
            "thermal status",
            "light",
            "at most none",
        ),
        (
            replace(GOOD, thermal=replace(THERMAL, overridden=True)),
            "thermal status",
            "none (set by hand: `cmd thermalservice reset`)",
            "at most none",
        ),
        (replace(GOOD, storage_free_bytes=0), "free storage", "0 B", "at least 2 GiB"),
        (
            replace(GOOD, available_bytes=512 << 20),
            "free memory",
            "512 MiB",
            "at least 768 MiB",
        ),
        (replace(GOOD, screen_on=False), "screen", "off", "on"),
        (replace(GOOD, unlocked=False), "lock screen", "shown: unlock the phone", "gone"),
        (
            replace(GOOD, chrome_version="120.0.1"),
            "com.android.chrome",
            "version 120.0.1",
            "at least version 121",
        ),
    ],
)
def test_one_gate_closes_and_says_why(
    facts: PhoneFacts, name: str, observed: str, limit: str
) -> None:
    found = closed(facts)
    assert list(found) == [name]
    assert (found[name].observed, found[name].limit) == (observed, limit)


def test_what_a_gate_allows_is_open_at_its_limit() -> None:
    edge = replace(
        GOOD,
        battery=replace(BATTERY, percent=30.0, celsius=38.0),
        storage_free_bytes=2 << 30,
        available_bytes=768 << 20,
        chrome_version="121",
    )
    assert closed(edge) == {}


def test_a_battery_that_is_set_by_hand_says_nothing() -> None:
    found = closed(replace(GOOD, battery=replace(BATTERY, faked=True)))
    assert set(found) == {"battery level", "battery temperature"}
    assert "dumpsys battery reset" in found["battery level"].observed


def test_what_powers_the_phone_is_told_and_may_be_demanded() -> None:
    alone = replace(GOOD, battery=replace(BATTERY, sources=(), status="discharging"))
    power = next(gate for gate in gates(alone, PIXEL7) if gate.name == "power source")
    assert (power.passed, power.observed) == (True, "battery, discharging")
    assert set(closed(alone, GateLimits(power=frozenset({"usb", "ac"})))) == {"power source"}


def test_what_is_not_known_closes_its_gate_and_says_why() -> None:
    found = closed(PhoneFacts(missing={"battery": "'dumpsys battery' did not end", "storage": "x"}))
    assert set(found) == NAMES - {"thermal status", "lock screen", "power source"}
    assert found["battery level"].observed == "unknown: 'dumpsys battery' did not end"
    assert found["free memory"].observed == "unknown: not told"


HOT = """dumpsys() {
  echo x >> looks
  [ -e cool ] && s=0 c=300 || s=2 c=455
  [ "$1" = battery ] && printf 'Current Battery Service state:\\n  temperature: %s\\n' $c
  [ "$1" = thermalservice ] && printf 'Thermal Status: %s\\n' $s
  [ $(wc -l < looks) -gt 3 ] && touch cool
  return 0
}"""


def test_waiting_until_a_phone_is_cool(tmp_path: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        phone = adb.phone(SERIAL)
        hot = await cool_down(phone, within=0)
        assert (hot.came, hot.thermal_status, hot.battery_celsius) == (False, 2, 45.5)
        cooled = await cool_down(phone, within=20, every=0.01)
        assert (cooled.came, cooled.thermal_status, cooled.battery_celsius) == (True, 0, 30.0)

    play(tmp_path, body, prelude=HOT)


def test_a_phone_that_tells_no_temperature_is_not_waited_for(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        found = await cool_down(adb.phone(SERIAL), within=20)
        assert (found.came, found.thermal_status, found.battery_celsius) == (True, None, None)
        fake.unplug()
        with pytest.raises(TransportLostError):
            await cool_down(adb.phone(SERIAL), within=20)

    play(tmp_path, body, prelude="dumpsys() { echo 'cannot find service' >&2; return 20; }")
