from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.ios.facts import IosFacts, gates, host_facts, parse_facts, refusal
from harness.profiles import load_profiles
from tests.harness.devices.ios.xcuitest import load

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.profiles import Profile

READ = parse_facts(load("device-info.json"), load("battery-info.json"), {"platformVersion": "26.0"})


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profiles()["iphone-15-pro"]


def test_a_real_device() -> None:
    assert (
        IosFacts(
            product_type="iPhone16,1",
            model="iPhone",
            release="26.0",
            build="23A341",
            simulator=False,
            thermal=0,
            battery_percent=85,
            battery_state="charging",
            temperature_celsius=29.5,
        )
        == READ
    )


def test_nothing_personal_gets_into_a_record(profile: Profile) -> None:
    text = json.dumps(host_facts(READ, profile).__repr__())
    for secret in ("somebody", "a-serial-number", "00:00:5e", "Berlin"):
        assert secret not in text
    assert "iPhone16,1" in text


def test_safari_has_the_systems_version_and_the_profile_the_memory(profile: Profile) -> None:
    host = host_facts(READ, profile)
    assert (host.browser, host.browser_version) == ("safari", "26.0")
    assert host.memory_bytes == 8 << 30
    assert host.extra["memory_from"] == "the profile"
    assert not host.emulated


def test_a_simulator_is_emulated_and_has_no_model() -> None:
    info: dict[str, JsonValue] = {"model": "iPhone", "isSimulator": 1, "thermalState": 0}
    found = parse_facts(info, {"level": -1, "state": 0}, {"platformVersion": "26.1"})
    assert found.simulator
    assert (found.product_type, found.release, found.battery_percent) == ("", "26.1", None)
    assert gates(found) == []


def test_another_model_is_refused_and_a_simulator_is_not(profile: Profile) -> None:
    assert refusal(READ, profile) is None
    other = refusal(replace(READ, product_type="iPhone14,5"), profile)
    assert other is not None
    assert "iPhone14,5" in other
    assert "iPhone16,1" in other
    assert refusal(replace(READ, product_type="", simulator=True), profile) is None


@pytest.mark.parametrize(
    ("changes", "closed"),
    [
        ({}, []),
        ({"thermal": 2}, ["thermal state"]),
        ({"battery_percent": 10, "battery_state": "unplugged"}, ["battery"]),
        ({"battery_percent": 10, "battery_state": "charging"}, []),
        ({"battery_percent": None, "thermal": None}, []),
    ],
)
def test_gates(changes: dict[str, object], closed: list[str]) -> None:
    found = gates(replace(READ, **changes))  # type: ignore[arg-type]
    assert [gate.name for gate in found if not gate.passed] == closed


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(
            [
                "lockdownInfo",
                "ProductType",
                "level",
                "state",
                "thermalState",
                "advanced",
                "Temperature",
            ]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=10,
)


@given(JSON, JSON, JSON)
def test_no_answer_makes_it_raise(device: object, battery: object, session: object) -> None:
    found = parse_facts(device, battery, session)  # type: ignore[arg-type]
    assert found.battery_percent is None or 0 <= found.battery_percent <= 100
    gates(found)
