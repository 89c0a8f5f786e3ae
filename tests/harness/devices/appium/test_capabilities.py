from __future__ import annotations

from pathlib import Path

import pytest

from harness.devices.appium.capabilities import Ports, chrome, native
from harness.errors import UserError

PORTS = Ports(system=1001, chromedriver=1002)


def test_a_session_has_its_own_ports_and_changes_nothing_for_good() -> None:
    asked = chrome("S", 5038, PORTS, package="com.android.chrome", chromedriver=Path("/c"))
    assert asked["appium:systemPort"] == 1001
    assert asked["appium:chromedriverPort"] == 1002
    assert (asked["appium:udid"], asked["appium:adbPort"]) == ("S", 5038)
    assert asked["appium:suppressKillServer"] is True
    assert asked["appium:noReset"] is True
    assert asked["goog:chromeOptions"]["androidKeepAppDataDir"] is True


def test_an_app_is_started_anew_and_not_cleared() -> None:
    asked = native("S", 5038, PORTS, package="a.b", activity=".M", start_seconds=2)
    assert asked["appium:forceAppLaunch"] is True
    assert asked["appium:noReset"] is True
    assert asked["appium:appWaitDuration"] == 2000
    assert "browserName" not in asked


def test_a_browser_that_appium_does_not_know_is_refused() -> None:
    with pytest.raises(UserError, match="does not drive the browser org"):
        chrome("S", 5038, PORTS, package="org.mozilla.firefox", chromedriver=Path("/c"))
