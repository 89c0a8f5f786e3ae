"""The battery, as `dumpsys battery` tells it.

Format: AOSP frameworks/base, BatteryService.dumpInternal; the numbers are BatteryManager's
constants, temperature is in tenths of a degree, voltage in millivolts (some vendors: microvolts).
Vendors append sections that repeat keys with other units or older values: only the first is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_HEAD: Final = re.compile(r"^Current Battery Service state:[ \t]*\r?$", re.MULTILINE)
_ROW: Final = re.compile(r"^ {1,4}(?P<key>[A-Za-z][A-Za-z ]{1,40}): *(?P<value>[^\r\n]{0,60}?)\s*$")
_STATUS: Final = {1: "unknown", 2: "charging", 3: "discharging", 4: "not charging", 5: "full"}
_SOURCES: Final = {
    "AC powered": "ac",
    "USB powered": "usb",
    "Wireless powered": "wireless",
    "Dock powered": "dock",
}
# What no battery in use can have: a sensor that is missing or broken.
_COLDEST, _HOTTEST = -40.0, 120.0
_NUMBER: Final = re.compile(r"-?\d{1,9}")


@dataclass(frozen=True, slots=True)
class Battery:
    """The battery's state.

    Attributes:
        percent: of its capacity.
        celsius: its temperature.
        status: charging, discharging, not charging, full, unknown.
        sources: what powers the phone: ac, usb, wireless, dock; empty: its battery.
        faked: somebody has set these values by hand (`dumpsys battery set`).
    """

    percent: float | None
    celsius: float | None
    status: str | None
    sources: tuple[str, ...] | None
    faked: bool


def parse_battery(text: str) -> Battery | None:
    """The first section of the dump; None where there is none."""
    head = _HEAD.search(text)
    if head is None:
        return None
    rows: dict[str, str] = {}
    faked = False
    for line in text[head.end() :].lstrip("\r\n").splitlines():
        if "UPDATES STOPPED" in line:
            faked = True
            continue
        if not line.startswith(" "):
            break  # the section has ended
        # Android 15 and later put remarks between the rows.
        if row := _ROW.match(line):
            rows.setdefault(row["key"], row["value"])
    if not rows:
        return None
    level, scale = _number(rows.get("level")), _number(rows.get("scale")) or 100
    tenths = _number(rows.get("temperature"))
    celsius = None if tenths is None else tenths / 10
    status = _number(rows.get("status"))
    known = {name for name in _SOURCES if name in rows}
    return Battery(
        percent=None if level is None or not 0 <= level <= scale else 100 * level / scale,
        celsius=celsius if celsius is not None and _COLDEST < celsius < _HOTTEST else None,
        status=None if status is None else _STATUS.get(status),
        sources=tuple(_SOURCES[name] for name in _SOURCES if rows.get(name) == "true")
        if known
        else None,
        faked=faked,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
