from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness.devices.android import device as module
from harness.devices.android.adb import Adb, TransportLostError
from harness.devices.android.device import AndroidDevice, busy_percent, host_facts
from harness.devices.android.facts import PhoneFacts
from harness.devices.android.facts.battery import Battery
from harness.devices.base import DeviceLostError, HeldElsewhereError, LeaseLostError
from harness.errors import UserError
from harness.evidence import Timeline
from harness.profiles import load_profiles
from tests.harness.devices.android.scripted import ScriptedPhone

if TYPE_CHECKING:
    from pathlib import Path

PIXEL = load_profiles()["pixel7"]
COOL = {
    "dumpsys thermalservice": "Thermal Status: 0\n",
    "dumpsys battery": "Current Battery Service state:\n  level: 80\n  temperature: 290\n",
}


def device(phone: ScriptedPhone) -> AndroidDevice:
    return AndroidDevice(PIXEL, Adb(port=1), phone.as_phone())


def test_facts_as_the_record_has_them() -> None:
    facts = PhoneFacts(
        release="15",
        api=35,
        manufacturer="Google",
        model="Pixel 7",
        soc="Google Tensor G2",
        memory_bytes=7 << 30,
        battery=Battery(80.0, 29.5, "charging", ("usb",), faked=False),
        chrome_version="141.0.1",
        emulated=True,
        missing={"gpu": "not in the output of dumpsys SurfaceFlinger"},
    )
    host = host_facts(facts, "com.android.chrome", ("global low_power: refused",))
    assert (host.host, host.operating_system) == ("Google Pixel 7", "Android 15 (API 35)")
    assert (host.browser, host.browser_version) == ("com.android.chrome", "141.0.1")
    assert host.emulated
    assert host.temperature_celsius == 29.5
    assert host.extra["battery_percent"] == 80.0
    assert host.extra["missing"] == {"gpu": "not in the output of dumpsys SurfaceFlinger"}
    assert host.extra["settings_not_set"] == ["global low_power: refused"]


def test_what_a_phone_does_not_tell_is_not_guessed() -> None:
    host = host_facts(PhoneFacts(), "com.android.chrome")
    assert (host.host, host.cpu, host.cores, host.memory_bytes) == ("a phone", "not known", 0, 0)
    assert host.browser_version == ""
    assert host.extra == {}


@pytest.mark.parametrize(
    ("before", "after", "busy"),
    [
        ("cpu  100 0 100 700 100 0 0 0 0 0", "cpu  150 0 150 1400 100 0 0 0 50 0", 12.5),
        ("cpu  100 0 100 700 100 0 0 0 0 0", "cpu  100 0 100 700 100 0 0 0 0 0", None),
        ("", "cpu  1 2 3 4", None),
        ("cpu  1 2 3 4", "intr 5", None),
    ],
)
def test_how_busy_the_processors_are(before: str, after: str, busy: float | None) -> None:
    assert busy_percent(before, after) == (None if busy is None else pytest.approx(busy))


@pytest.mark.parametrize(("step", "rested"), [(0, True), (1000, False)])
def test_rest_is_bounded(monkeypatch: pytest.MonkeyPatch, step: int, rested: bool) -> None:
    monkeypatch.setattr(module, "REST_WINDOW_SECONDS", 0.01)
    monkeypatch.setenv("TIERLAB_REST_SECONDS", "0.1")
    ticks = [0, 0]

    def stat(_: str) -> str:
        ticks[0] += step
        ticks[1] += 100
        return f"cpu  {ticks[0]} 0 0 {ticks[1]} 0 0 0 0 0 0\n"

    assert asyncio.run(device(ScriptedPhone(COOL | {"head": stat})).rest()) is rested


def test_no_engine_runs_outside_of_the_browser(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a phone") as error:
        device(ScriptedPhone()).child(Timeline(), tmp_path)
    assert error.value.next_step


def test_a_phone_that_is_gone_is_a_lost_device(tmp_path: Path) -> None:
    gone = ScriptedPhone(
        dict.fromkeys(("", "b=-", "head", "dumpsys", "[ -f", "am"), TransportLostError)
    )

    async def main() -> None:
        lost = device(gone)
        for work in (lost.facts, lost.gates, lost.rest, lost.recover, lost.__aenter__):
            with pytest.raises(DeviceLostError):
                await work()
        with pytest.raises(DeviceLostError):
            async with lost.session(Timeline(), tmp_path):
                raise AssertionError

    asyncio.run(main())


def test_a_phone_that_another_host_holds_is_left_alone() -> None:
    phone = ScriptedPhone({"b=-": "b1 5.0\n7 {}\n"})

    async def main() -> None:
        with pytest.raises(HeldElsewhereError, match="in use by somebody"):
            async with device(phone):
                raise AssertionError

    asyncio.run(main())
    assert len(phone.asked) == 1


def test_on_a_phone_that_another_host_took_no_browser_is_opened(tmp_path: Path) -> None:
    took = {"b=-": "b1 5.0\n", "mkdir": "taken\n1\n", "cd": "1 2\n", "cat": "", "echo": ""}
    phone = ScriptedPhone(took | dict.fromkeys(("[", "printf", "sh", "settings"), ""))

    async def main() -> None:
        async with device(phone) as opened:
            assert phone.taken is None
            with pytest.raises(LeaseLostError, match="another run took the phone over"):
                async with opened.session(Timeline(), tmp_path):
                    raise AssertionError
        assert phone.taken is not None

    asyncio.run(main())


def test_recovery_ends_the_browser_and_puts_back_what_was_left() -> None:
    phone = ScriptedPhone({"am": "", "input": "", "wm": ""})
    phone.comes_back = True
    asyncio.run(device(phone).recover())
    assert phone.asked[0] == "am force-stop com.android.chrome"


def test_only_android_profiles() -> None:
    with pytest.raises(ValueError, match="no Android profile"):
        AndroidDevice(load_profiles()["desktop"], Adb(port=1), ScriptedPhone().as_phone())
