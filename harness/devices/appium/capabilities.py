"""What sessions are asked for: W3C capabilities of Appium's UiAutomator2 driver. Pure.

Names and meanings: appium-uiautomator2-driver 8.7, README.md, "Capabilities", and, for
`goog:chromeOptions`, chromedriver's own. Everything that would change a user's phone for good is
left out: app data are kept, nothing is cleared, no further helper app is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

Capabilities = dict[str, Any]

# What Appium names the builds of Chrome (appium-android-driver, `getChromePkg`).
BROWSER_NAMES: Final = {
    "com.android.chrome": "Chrome",
    "com.chrome.beta": "chromebeta",
    "org.chromium.chrome": "chromium-browser",
}
# Appium ends a session that is not used for so long.
IDLE_SECONDS: Final = 900
# Two APKs of 18 MB in all are installed once a phone; over a slow cable that takes a while.
INSTALL_MS: Final = 120_000
LAUNCH_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Ports:
    """Ports of this machine that belong to one session alone.

    Appium kills every chromedriver that it finds on its session's port, and refuses a session whose
    system port is taken.
    """

    system: int
    chromedriver: int


def base(serial: str, adb_port: int, ports: Ports) -> Capabilities:
    """What every session on a phone has in common."""
    return {
        "platformName": "Android",
        "appium:automationName": "UiAutomator2",
        "appium:udid": serial,
        "appium:adbPort": adb_port,
        # The adb server is not Appium's: others use it.
        "appium:suppressKillServer": True,
        "appium:systemPort": ports.system,
        "appium:chromedriverPort": ports.chromedriver,
        # The harness keeps the screen on, and reads the log itself.
        "appium:skipDeviceInitialization": True,
        "appium:skipUnlock": True,
        "appium:skipLogcatCapture": True,
        # A phone that does not let the shell relax it: only rarely used commands need it.
        "appium:ignoreHiddenApiPolicyError": True,
        "appium:noReset": True,
        # Else every command waits up to 10 s for a screen that stands still, which it does not
        # while a model writes.
        "appium:settings[waitForIdleTimeout]": 0,
        "appium:settings[waitForSelectorTimeout]": 0,
        "appium:settings[actionAcknowledgmentTimeout]": 500,
        "appium:newCommandTimeout": IDLE_SECONDS,
        "appium:uiautomator2ServerInstallTimeout": INSTALL_MS,
        "appium:uiautomator2ServerLaunchTimeout": LAUNCH_MS,
    }


def chrome(
    serial: str, adb_port: int, ports: Ports, *, package: str, chromedriver: Path
) -> Capabilities:
    """A session in the phone's Chrome. The user's browser data are kept.

    Raises:
        UserError: Appium does not know the browser.
    """
    name = BROWSER_NAMES.get(package)
    if name is None:
        raise UserError(
            f"Appium does not drive the browser {package}",
            f"it drives {', '.join(BROWSER_NAMES)}; the device itself needs no Appium",
        )
    return {
        **base(serial, adb_port, ports),
        "browserName": name,
        "appium:chromedriverExecutable": str(chromedriver),
        "goog:chromeOptions": {
            "androidKeepAppDataDir": True,
            "args": ["--no-first-run", "--disable-fre"],
        },
    }


def native(
    serial: str,
    adb_port: int,
    ports: Ports,
    *,
    package: str,
    activity: str,
    start_seconds: float = 60.0,
    chromedriver: Path | None = None,
) -> Capabilities:
    """A session in an app that is installed, started anew; it ends with the session.

    Args:
        serial: of the phone.
        adb_port: of its adb server.
        ports: the session's own.
        package: the app.
        activity: what is started; a name with a dot in front is the package's.
        start_seconds: how long the app may take to show its first screen.
        chromedriver: for the app's WebViews; without it they cannot be entered.
    """
    capabilities = {
        **base(serial, adb_port, ports),
        "appium:appPackage": package,
        "appium:appActivity": activity,
        "appium:appWaitActivity": "*",
        "appium:appWaitDuration": round(start_seconds * 1000),
        "appium:forceAppLaunch": True,
        "appium:shouldTerminateApp": True,
    }
    if chromedriver is not None:
        capabilities["appium:chromedriverExecutable"] = str(chromedriver)
    return capabilities
