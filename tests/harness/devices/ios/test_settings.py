from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.devices.ios import capabilities
from harness.devices.ios.settings import (
    APPIUM,
    CAPABILITIES,
    ORIGIN,
    PORT,
    UDID,
    IosSettings,
    missing_setting,
    read_settings,
)
from harness.errors import UserError
from tests.harness.devices.ios.xcuitest import CAPABILITIES as DOCUMENTED

if TYPE_CHECKING:
    from pathlib import Path

LEAST = {APPIUM: "http://127.0.0.1:4723/", UDID: "a-serial-number"}


def test_the_least_that_is_needed() -> None:
    assert read_settings(LEAST) == IosSettings(
        "http://127.0.0.1:4723", "a-serial-number", None, None, {}
    )
    assert missing_setting(LEAST) is None


def test_what_is_missing_is_named_in_one_line() -> None:
    for given, word in (({}, APPIUM), ({APPIUM: "http://x"}, UDID)):
        missing = missing_setting(given)
        assert missing is not None
        assert missing.startswith(f"{word} is not set")
        assert "\n" not in missing
        with pytest.raises(UserError, match=word):
            read_settings(given)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({APPIUM: "localhost:4723"}, "is no URL"),
        ({ORIGIN: "https://lab.example"}, "go together"),
        ({PORT: "8470"}, "go together"),
        ({ORIGIN: "https://lab.example", PORT: "0"}, "is no port"),
        ({ORIGIN: "https://lab.example", PORT: "99999999999999"}, "is no port"),
        ({CAPABILITIES: "/nowhere.json"}, "cannot be read"),
    ],
)
def test_a_setting_that_is_none_is_refused(more: dict[str, str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_settings({**LEAST, **more})


def test_the_users_own_capabilities_come_last(tmp_path: Path) -> None:
    path = tmp_path / "capabilities.json"
    path.write_text('{"appium:xcodeOrgId": "TEAM", "appium:newCommandTimeout": 5}')
    settings = read_settings({**LEAST, CAPABILITIES: str(path)})
    wanted = capabilities.safari(settings)
    assert wanted["appium:xcodeOrgId"] == "TEAM"
    assert wanted["appium:newCommandTimeout"] == 5
    path.write_text("[1]")
    with pytest.raises(UserError, match="is no JSON object"):
        read_settings({**LEAST, CAPABILITIES: str(path)})


def test_every_capability_is_documented() -> None:
    settings = read_settings(LEAST)
    for wanted in (
        capabilities.base(settings),
        capabilities.safari(settings),
        capabilities.app(settings, "com.example.App"),
    ):
        assert wanted.keys() <= DOCUMENTED
