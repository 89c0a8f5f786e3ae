"""Where the iPhone or iPad is: what only the user knows, from the environment. Pure but for that.

Nothing of it goes into profiles or records: a device's number is personal.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

APPIUM: Final = "TIERLAB_IOS_APPIUM"
UDID: Final = "TIERLAB_IOS_UDID"
ORIGIN: Final = "TIERLAB_IOS_ORIGIN"
PORT: Final = "TIERLAB_IOS_PORT"
CAPABILITIES: Final = "TIERLAB_IOS_CAPABILITIES"


@dataclass(frozen=True, slots=True)
class IosSettings:
    """How the device is reached.

    Attributes:
        appium: URL of an Appium server with the XCUITest driver.
        udid: of the device or simulator.
        origin: where the device finds the harness's pages, without a path; None: under their own
            address, which only a simulator on the same machine can.
        port: of this machine, which `origin` leads to.
        capabilities: further ones of the user, such as those that sign WebDriverAgent.
    """

    appium: str
    udid: str
    origin: str | None
    port: int | None
    capabilities: dict[str, Any]


def missing_setting(environment: Mapping[str, str] = os.environ) -> str | None:
    """What is missing before a device could be reached, in one line; None: nothing."""
    for name, what in ((APPIUM, "an Appium server with the XCUITest driver"), (UDID, "its UDID")):
        if not environment.get(name):
            return f"{name} is not set: {what}; see docs/ios.md"
    return None


def read_settings(environment: Mapping[str, str] = os.environ) -> IosSettings:
    """The settings.

    Raises:
        UserError: one is missing, or is none.
    """
    if missing := missing_setting(environment):
        raise UserError(missing, "docs/ios.md says what an iOS device needs")
    origin, port = environment.get(ORIGIN) or None, environment.get(PORT) or None
    if (origin is None) != (port is None):
        raise UserError(
            f"{ORIGIN} and {PORT} go together",
            f"{PORT} is the port of this machine that {ORIGIN} leads to",
        )
    return IosSettings(
        appium=_url(APPIUM, environment[APPIUM]),
        udid=environment[UDID],
        origin=_url(ORIGIN, origin) if origin else None,
        port=_port(port) if port else None,
        capabilities=_capabilities(environment.get(CAPABILITIES)),
    )


def _url(name: str, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query:
        raise UserError(f"{name}={text} is no URL", "write for example http://127.0.0.1:4723")
    return text.rstrip("/")


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) < 1 << 16:
        raise UserError(f"{PORT}={text} is no port", "write a number from 1024 to 65535")
    return int(text)


def _capabilities(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{CAPABILITIES}={path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UserError(
            f"{CAPABILITIES}={path} is no JSON object",
            'write for example {"appium:xcodeOrgId": "TEAM", "appium:xcodeSigningId": "..."}',
        )
    return found
