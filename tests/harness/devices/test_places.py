from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from harness.ab import AS_INSTALLED
from harness.devices import places
from harness.devices.android import discovery, private
from harness.devices.android.adb import Adb
from harness.devices.android.device import AndroidDevice
from harness.devices.android.discovery import Found
from harness.devices.desktop import DesktopDevice
from harness.devices.device_state import Condition, DeviceState, change, load_all
from harness.devices.places import Places, PlacesSettings, expected, unusable
from harness.devices.power_cycle import PowerCycle
from harness.emulation.phone import start
from harness.emulation.phone.faults import Fault, FaultPlan
from harness.errors import UserError
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.places import Place
    from harness.profiles import Profile

PROFILES = load_profiles()
PIXEL = PROFILES["pixel7"]


def limited(profile: Profile) -> Profile:
    return profile.model_copy(
        update={"limits": profile.limits.model_copy(update={"memory": 1 << 30})}
    )


class VirtualPhone:
    missing = ("isolation: no namespaces",)

    def __init__(self, address: str) -> None:
        self.address = address
        self.alive = True
        self.asked: list[tuple[str, dict[str, JsonValue]]] = []

    async def control(self, action: str, **arguments: JsonValue) -> None:
        self.asked.append((action, arguments))


class Lab:
    """Places on an adb server that is not there, and what happened to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attached: list[list[Found]] = []
        self.state: str | None = "device"
        self.said: list[str] = []
        self.connected: list[str] = []
        self.phones: list[VirtualPhone] = []
        self.servers = 0
        monkeypatch.setattr(discovery, "find_phones", self._find_phones)
        monkeypatch.setattr(Adb, "state_of", self._state_of())
        monkeypatch.setattr(Adb, "ensure_server", self._nothing())
        monkeypatch.setattr(Adb, "connect", self._connect(self.connected.append))
        monkeypatch.setattr(Adb, "disconnect", self._connect(self.connected.remove))
        monkeypatch.setattr(private, "private_server", self._private_server)
        monkeypatch.setattr(start, "virtual_phone", self._virtual_phone)

    async def _find_phones(self, *_: object, **__: object) -> list[Found]:
        found = self.attached.pop(0)
        if not found:
            raise UserError("adb sees no phone", "attach one")
        return found

    def _state_of(self) -> Callable[..., Awaitable[str | None]]:
        async def state_of(_: Adb, __: str) -> str | None:
            return self.state

        return state_of

    @staticmethod
    def _nothing() -> Callable[..., Awaitable[None]]:
        async def nothing(_: Adb) -> None:
            pass

        return nothing

    @staticmethod
    def _connect(what: Callable[[str], None]) -> Callable[..., Awaitable[None]]:
        async def connect(_: Adb, address: str) -> None:
            what(address)

        return connect

    @asynccontextmanager
    async def _private_server(self) -> AsyncIterator[Adb]:
        self.servers += 1
        yield Adb(port=1)
        self.servers -= 1

    @asynccontextmanager
    async def _virtual_phone(self, profile: Profile, **_: object) -> AsyncIterator[VirtualPhone]:
        phone = VirtualPhone(f"127.0.0.1:{len(self.phones) + 1}")
        self.phones.append(phone)
        assert profile.kind == "android"
        yield phone
        phone.alive = False

    def run(self, settings: PlacesSettings, *work: Callable[[Places], Awaitable[Any]]) -> list[Any]:
        async def main() -> list[Any]:
            found = Places(settings, self.said.append)
            try:
                return [await each(found) for each in work]
            finally:
                await found.close()

        return asyncio.run(main())


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path))
    return Lab(monkeypatch)


def of(profile: Profile) -> Callable[[Places], Awaitable[list[Place]]]:
    return lambda found: found.of(profile, AS_INSTALLED)


def resources(found: list[Place]) -> list[str]:
    return [place.resource for place in found]


def test_all_desktops_are_one_machine(lab: Lab) -> None:
    one, other = lab.run(PlacesSettings(), of(PROFILES["desktop"]), of(PROFILES["desktop-2g"]))
    assert resources(one) == resources(other) == ["machine"]
    assert isinstance(one[0].open(), DesktopDevice)


def test_each_phone_of_a_profile_is_a_place_that_is_leased_by_its_serial(lab: Lab) -> None:
    lab.attached = [[Found("1A2B", {}), Found("10.0.0.7:5555", {})]]
    (found,) = lab.run(PlacesSettings(), of(PIXEL))
    assert resources(found) == ["phone-1A2B", "phone-10.0.0.7_5555"]
    device = found[1].open()
    assert isinstance(device, AndroidDevice)
    assert device.phone.serial == "10.0.0.7:5555"


def test_a_phone_that_was_there_is_a_place_to_be_healed(lab: Lab) -> None:
    both = [Found("1A2B", {}), Found("2B3C", {})]
    lab.attached = [both, both[1:], []]
    _, one, none = lab.run(PlacesSettings(), of(PIXEL), of(PIXEL), of(PIXEL))
    assert resources(one) == ["phone-2B3C", "phone-1A2B"]
    assert [place.away for place in one] == [
        None,
        "adb does not see it as a Google Pixel 7 any more",
    ]
    assert [place.away for place in none] == ["adb sees no phone"] * 2
    assert [rung.name for rung in one[1].rungs] == [
        "reconnect",
        "restart of its adb daemon",
        "reboot",
    ]


def test_a_phone_that_was_never_there_is_none(lab: Lab) -> None:
    lab.attached = [[]]
    with pytest.raises(UserError, match="adb sees no phone"):
        lab.run(PlacesSettings(), of(PIXEL))


def test_a_phone_that_is_asked_for_and_known_is_a_place_although_it_is_away(lab: Lab) -> None:
    settings = PlacesSettings(serial="1A2B", power_cycle=PowerCycle(("true",)))
    lab.attached = [[]]
    assert not expected(PIXEL, settings)
    change("phone-1A2B", lambda state: state.model_copy(update={"profile": "pixel7"}))
    assert expected(PIXEL, settings)
    assert not expected(PROFILES["pixel8"], settings)
    (found,) = lab.run(settings, of(PIXEL))
    assert [(place.resource, place.away) for place in found] == [
        ("phone-1A2B", "adb sees no phone")
    ]
    assert found[0].rungs[-1].name == "power cycle"


def test_a_virtual_phone_is_started_once_on_a_server_of_its_own(lab: Lab) -> None:
    async def all_there(_: Places) -> None:
        assert (lab.servers, lab.connected) == (1, ["127.0.0.1:1", "127.0.0.1:2"])

    emulate = PlacesSettings(emulate=True)
    once, again, other, _ = lab.run(
        emulate, of(PIXEL), of(PIXEL), of(PROFILES["pixel8"]), all_there
    )
    assert resources(once) == resources(again) == ["phone-127.0.0.1_1"]
    assert resources(other) == ["phone-127.0.0.1_2"]
    assert [phone.alive for phone in lab.phones] == [False, False]
    assert (lab.servers, lab.connected) == (0, [])
    assert "pixel7: this host does not permit isolation: no namespaces" in lab.said


def test_a_virtual_phone_that_ended_is_replaced(lab: Lab) -> None:
    async def end(_: Places) -> None:
        lab.phones[0].alive = False

    _, _, found = lab.run(PlacesSettings(emulate=True), of(PIXEL), end, of(PIXEL))
    assert resources(found) == ["phone-127.0.0.1_2"]


def test_a_virtual_phone_that_is_gone_is_to_be_healed(lab: Lab) -> None:
    lab.state = None
    _, (found,) = lab.run(PlacesSettings(emulate=True), of(PIXEL), of(PIXEL))
    assert found.away == "adb calls it gone"


def test_nothing_is_known_of_a_virtual_phone_before_and_after_its_run(lab: Lab) -> None:
    def ill(state: DeviceState) -> DeviceState:
        return state.model_copy(update={"condition": Condition.UNHEALTHY})

    change("phone-127.0.0.1_1", ill)

    async def fall_ill(_: Places) -> None:
        assert load_all() == []
        change("phone-127.0.0.1_1", ill)

    lab.run(PlacesSettings(emulate=True), of(PIXEL), fall_ill)
    assert load_all() == []


def test_faults_happen_to_each_virtual_phone(lab: Lab) -> None:
    faults = FaultPlan.scripted([Fault(0, "unplug", {"seconds": 1}), Fault(0, "reboot")])

    async def until_the_last(_: Places) -> None:
        async with asyncio.timeout(10):
            while "that was the last fault" not in lab.said:  # noqa: ASYNC110 - the plan runs in a task
                await asyncio.sleep(0)

    lab.run(PlacesSettings(emulate=True, faults=faults), of(PIXEL), until_the_last)
    assert lab.phones[0].asked == [("unplug", {"seconds": 1}), ("reboot", {})]


# ---- what cannot be used, and why ----


def test_a_phone_takes_no_limits_and_a_virtual_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "find_browser", lambda _: object())
    monkeypatch.setattr(places, "find_limiter", object)
    assert "--emulate" in str(unusable(limited(PIXEL), PlacesSettings()))
    assert unusable(limited(PIXEL), PlacesSettings(emulate=True)) is None


def test_a_virtual_phone_needs_a_browser_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "find_browser", lambda _: "no chromium on this machine")
    reason = unusable(PIXEL, PlacesSettings(emulate=True))
    assert reason == "no chromium on this machine"


def test_phones_need_an_adb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(places, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no adb on this machine" in str(unusable(PIXEL, PlacesSettings()))


def test_why_no_phone_is_meant(lab: Lab) -> None:
    lab.attached = [[], [Found("1A2B", {})]]
    assert "adb sees no phone" in str(unusable(PIXEL, PlacesSettings()))
    assert unusable(PIXEL, PlacesSettings()) is None


# ---- spec sheets ----


def test_another_machine_s_spec_sheet_is_no_device_here() -> None:
    sheets = [profile for profile in PROFILES.values() if profile.spec_sheet_only]
    assert {"macbook-pro-m3", "macbook-pro-m4-max", "desktop-rdna4"} <= {p.id for p in sheets}
    for profile in sheets:
        reason = unusable(profile, PlacesSettings(emulate=True))
        assert reason is not None
        assert reason.startswith("spec sheet only: another machine")
        assert f"tierlab predict --device={profile.id}" in reason
