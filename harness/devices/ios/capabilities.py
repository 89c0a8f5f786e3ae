"""What sessions are asked for: capabilities of Appium's XCUITest driver. Pure.

Names and meanings: appium-xcuitest-driver 12.7, docs/reference/capabilities.md. The user's own come
last, since signing differs from one Mac to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from harness.devices.ios.settings import IosSettings

SAFARI: Final = "com.apple.mobilesafari"
# Appium ends a session that is not used for so long.
IDLE_SECONDS: Final = 900
# A first start builds and installs WebDriverAgent.
WDA_MS: Final = 240_000


def base(settings: IosSettings) -> dict[str, Any]:
    """A session on the home screen; what every session has in common."""
    return {
        "platformName": "iOS",
        "appium:automationName": "XCUITest",
        "appium:udid": settings.udid,
        "appium:noReset": True,
        "appium:newCommandTimeout": IDLE_SECONDS,
        "appium:wdaLaunchTimeout": WDA_MS,
        **settings.capabilities,
    }


def safari(settings: IosSettings) -> dict[str, Any]:
    """A session in Safari, started anew on an empty page."""
    return {
        **base(settings),
        "browserName": "Safari",
        "appium:safariInitialUrl": "",
        # A page that computes answers late: its silence is told by the deadlines of a trial.
        "appium:webviewAtomWaitTimeout": 280_000,
        # Collects the console for the trial's files, without printing it into Appium's log.
        "appium:showSafariConsoleLog": False,
        **settings.capabilities,
    }


def app(settings: IosSettings, bundle_id: str) -> dict[str, Any]:
    """A session in an app that is installed, started anew; it ends with the session."""
    return {
        **base(settings),
        "appium:bundleId": bundle_id,
        "appium:forceAppLaunch": True,
        "appium:shouldTerminateApp": True,
        # An app that computes is hardly ever idle.
        "appium:waitForIdleTimeout": 1,
        **settings.capabilities,
    }
