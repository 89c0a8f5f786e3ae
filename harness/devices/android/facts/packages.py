"""Versions of installed packages, and which WebView is in use.

Formats: AOSP frameworks/base, Settings.dumpPackageLPr (`dumpsys package`) and
WebViewUpdateServiceImpl.dumpState (`dumpsys webviewupdate`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.devices.android.facts.text import clean, whole

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)+")
_VERSION_NAME: Final = re.compile(r"^[ \t]+versionName=(?P<version>[^\r\n]{1,200})", re.MULTILINE)
_VERSION_CODE: Final = re.compile(r"^[ \t]+versionCode=(?P<code>\d{1,18})\b", re.MULTILINE)
_NEXT: Final = re.compile(r"^[ \t]*Package \[", re.MULTILINE)
_WEBVIEW: Final = re.compile(
    r"^[ \t]*Current WebView package \(name, version\): "
    r"\((?P<name>[^,()\r\n]{1,200}), (?P<version>[^()\r\n]{1,200})\)",
    re.MULTILINE,
)
_MAJOR: Final = re.compile(r"(?P<major>\d{1,6})(?:\.|$)")


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    version: str
    version_code: int | None


def is_package_name(text: str) -> bool:
    """Whether this is the name of a package: other words never reach a phone's shell."""
    return _NAME.fullmatch(text) is not None


def parse_package(text: str, name: str) -> Package | None:
    """The version of `dumpsys package NAME`; None where it is not installed.

    Of a system app that was updated the dump has two: the one in use comes first.
    """
    head = re.search(rf"^[ \t]*Package \[{re.escape(name)}\]", text, re.MULTILINE)
    if head is None:
        return None
    rest = text[head.end() :]
    following = _NEXT.search(rest)
    body = rest[: following.start()] if following else rest
    version, code = _VERSION_NAME.search(body), _VERSION_CODE.search(body)
    shown = clean(version["version"]) if version else None
    if shown is None or shown == "null":
        return None
    return Package(name, shown, whole(code["code"]) if code else None)


def parse_webview(text: str) -> Package | None:
    """The WebView in use; None where none is."""
    match = _WEBVIEW.search(text)
    version = clean(match["version"]) if match else None
    name = clean(match["name"]) if match else None
    return Package(name, version, None) if name and version else None


def major_version(version: str) -> int | None:
    """121 of `121.0.6167.178`."""
    match = _MAJOR.match(version)
    return int(match["major"]) if match else None
