from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.devices.android import discovery
from harness.devices.android.discovery import find_phone, find_phones, mismatches
from harness.devices.android.facts.properties import is_emulated
from harness.errors import UserError
from harness.profiles import load_profiles
from tests.harness.devices.android.server import FakeServer, play

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.android.adb import Adb

PROFILES = load_profiles()
PIXEL7 = PROFILES["pixel7"]
DEVICE = next(iter(PIXEL7.android.match["ro.product.device"])) if PIXEL7.android else ""
# Every phone answers from the file with its serial's name: the fake has one shell for all.
GETPROP = 'getprop() { cat "$ROOT/$SERIAL.properties"; }'


def properties(**own: str) -> str:
    rows = {
        "ro.product.manufacturer": "Google",
        "ro.product.model": "Pixel 7",
        "ro.product.device": DEVICE,
    }
    rows |= {key.replace("__", "."): value for key, value in own.items()}
    return "".join(f"[{key}]: [{value}]\n" for key, value in rows.items())


def lab(root: Path, phones: dict[str, str]) -> dict[str, str]:
    """Devices for a fake server: their state, or `device` and their properties in a file."""
    states = {}
    for serial, what in phones.items():
        ready = what.startswith("[")
        states[serial] = "device" if ready else what
        if ready:
            (root / f"{serial}.properties").write_text(what)
    return states


def found(root: Path, phones: dict[str, str], serial: str | None = None) -> list[str]:
    names: list[str] = []

    async def body(_: FakeServer, adb: Adb) -> None:
        names.extend(phone.serial for phone in await find_phones(adb, PIXEL7, serial=serial))

    play(root, body, prelude=GETPROP, devices=lab(root, phones))
    return names


def why_not(root: Path, phones: dict[str, str], serial: str | None = None) -> str:
    with pytest.raises(UserError) as raised:
        found(root, phones, serial)
    return str(raised.value)


def test_all_phones_of_a_profile_in_order(tmp_path: Path) -> None:
    phones = {
        "c": properties(ro__serialno="c"),
        "a": properties(ro__serialno="a"),
        "b": properties(ro__product__device="cheetah"),
        "d": "unauthorized",
    }
    assert found(tmp_path, phones) == ["a", "c"]
    assert found(tmp_path, phones, "c") == ["c"]


def test_a_phone_that_is_attached_twice_counts_once(tmp_path: Path) -> None:
    phones = {
        "192.0.2.7:5555": properties(ro__serialno="X1"),
        "X1": properties(ro__serialno="X1"),
        "192.0.2.8:5555": properties(ro__serialno="X2"),
    }
    assert found(tmp_path, phones) == ["192.0.2.8:5555", "X1"]


def test_virtual_phones_of_one_profile_are_several(tmp_path: Path) -> None:
    one = properties(ro__serialno="same", ro__tierlab__virtual="1")
    assert found(tmp_path, {"127.0.0.1:1": one, "127.0.0.1:2": one}) == [
        "127.0.0.1:1",
        "127.0.0.1:2",
    ]


def test_no_phone_says_how_to_get_one(tmp_path: Path) -> None:
    said = why_not(tmp_path, {})
    assert "pixel7 is a phone, and adb (port " in said
    assert "sees none" in said
    assert "enable USB debugging" in said
    assert "--emulate" in said
    assert "no phone at all" in why_not(tmp_path, {}, serial="X9")


def test_each_phone_says_in_a_line_why_it_is_none(tmp_path: Path) -> None:
    said = why_not(
        tmp_path,
        {
            "A": "unauthorized",
            "B": properties(ro__product__device="cheetah", ro__product__model="Pixel 7 Pro"),
            "C": "recovery",
            "D": "no permissions (udev)",
            "E": "[ro.product.model]: [?]\n",
        },
    )
    lines = said.splitlines()
    assert "is a usable Google Pixel 7 (pixel7):" in lines[0]
    assert lines[1].startswith("  A: unauthorized: it does not trust this computer yet -> unlock")
    assert lines[2] == (
        f"  B: Google Pixel 7 Pro: has 'cheetah' for ro.product.device, not {DEVICE!r}"
    )
    assert "recovery mode -> start Android" in lines[3]
    assert "no permissions: this user may not open its USB device -> install the udev" in lines[4]
    assert f"has no ro.product.device, not {DEVICE!r}" in lines[5]
    assert lines[-1].endswith("--emulate to run a virtual one")


def test_the_phone_that_was_named_and_is_another(tmp_path: Path) -> None:
    phones = {"A": properties(ro__product__device="cheetah"), "B": properties()}
    assert "the phone A cannot be used as Google Pixel 7" in why_not(tmp_path, phones, "A")
    said = why_not(tmp_path, phones, "Z")
    assert "no phone with the serial Z; it sees:\n  A: device\n  B: device" in said


def test_a_phone_that_dies_while_it_is_asked_is_explained(tmp_path: Path) -> None:
    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.features = "shell_v2"
        with pytest.raises(UserError, match="phone-1: it does not tell its properties"):
            await find_phone(adb, PIXEL7)

    play(tmp_path, body, prelude="getprop() { kill -9 $$; }")


def test_an_address_that_adb_does_not_know_is_connected_to(tmp_path: Path) -> None:
    (tmp_path / "127.0.0.1:7.properties").write_text(properties())

    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.devices = {}

        def connect(address: str) -> str:
            fake.devices[address] = "device"
            return f"connected to {address}"

        fake.connect = connect
        assert (await find_phone(adb, PIXEL7, serial="127.0.0.1:7")).serial == "127.0.0.1:7"
        fake.devices, fake.connect = {}, lambda _: "failed to connect: Connection refused"
        with pytest.raises(UserError, match="Connection refused"):
            await find_phone(adb, PIXEL7, serial="127.0.0.1:7")

    play(tmp_path, body, prelude=GETPROP)


def test_a_phone_that_was_just_plugged_in_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "A.properties").write_text(properties())

    async def body(fake: FakeServer, adb: Adb) -> None:
        fake.devices = {"A": "authorizing"}
        finding = asyncio.create_task(find_phone(adb, PIXEL7))
        async with asyncio.timeout(5):
            while "host:devices" not in fake.requests:  # noqa: ASYNC110 - asked once
                await asyncio.sleep(0.01)
        fake.devices = {"A": "device"}
        assert (await finding).serial == "A"

    play(tmp_path, body, prelude=GETPROP)


def test_one_that_stays_offline_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "SETTLE_SECONDS", 0.1)
    assert "A: offline: it is known to adb but does not answer" in why_not(
        tmp_path, {"A": "offline"}
    )


def test_a_desktop_is_no_phone(tmp_path: Path) -> None:
    async def body(_: FakeServer, adb: Adb) -> None:
        with pytest.raises(UserError, match="desktop is no Android phone"):
            await find_phone(adb, PROFILES["desktop"])

    play(tmp_path, body)


@pytest.mark.parametrize(
    ("value", "patterns", "reasons"),
    [
        ("panther", ("panther",), 0),
        ("SM-S911B", ("SM-S911*",), 0),
        ("SM-S911B", ("SM-S916*", "SM-S91[01]?"), 0),
        ("sm-s911b", ("SM-S911*",), 1),
        ("", ("?*",), 1),
        (None, ("*",), 1),
    ],
)
def test_a_property_has_one_of_its_values(
    value: str | None, patterns: tuple[str, ...], reasons: int
) -> None:
    has = {} if value is None else {"ro.product.model": value}
    assert len(mismatches(has, {"ro.product.model": patterns})) == reasons


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text()), st.text())
def test_a_reason_is_one_line_whatever_a_phone_calls_itself(
    has: dict[str, str], pattern: str
) -> None:
    for reason in mismatches(has, {"a": (pattern,), "b": ("x",)}):
        assert "\n" not in reason.replace(pattern, "")


@pytest.mark.parametrize("mark", ["ro.tierlab.virtual", "ro.kernel.qemu", "ro.boot.qemu"])
def test_what_marks_a_phone_that_is_none(mark: str) -> None:
    assert is_emulated({mark: "1"})
    assert not is_emulated({mark: "0"})
