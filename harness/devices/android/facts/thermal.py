"""Throttling and temperatures, as `dumpsys thermalservice` tells them.

Format: AOSP frameworks/base, ThermalManagerService.dump, and Temperature.toString; the numbers are
those of PowerManager.THERMAL_STATUS_* and of the thermal HAL's TemperatureType.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from harness.devices.android.facts.text import bodies, clean

STATUS_NAMES: Final = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_TYPES: Final = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 4: "usb", 9: "npu", 10: "npu"}
# Voltages, currents and percentages of the battery's limits come in the same list.
_NO_TEMPERATURES: Final = frozenset({6, 7, 8})
_STATUS: Final = re.compile(r"^[ \t]*Thermal Status: (?P<status>\d)\s*$", re.MULTILINE)
_OVERRIDDEN: Final = re.compile(r"^[ \t]*IsStatusOverride: true\s*$", re.MULTILINE)
_TEMPERATURE: Final = re.compile(
    r"Temperature\{mValue=(?P<value>-?\d{1,6}(?:\.\d{1,12})?(?:E-?\d{1,2})?), "
    r"mType=(?P<type>-?\d{1,3}), mName=(?P<name>[^,}\n]{0,80}), mStatus=(?P<status>\d)\}"
)
_SECTION: Final = re.compile(r"^[A-Z][A-Za-z ]{3,60}:[^\n]*$", re.MULTILINE)
_CURRENT: Final = "Current temperatures from HAL:"
_CACHED: Final = "Cached temperatures:"
_THRESHOLDS: Final = "Temperature static thresholds from HAL:"
_COLDEST, _HOTTEST = -40.0, 200.0
_MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Temperature:
    """One sensor; `kind` is cpu, gpu, battery, skin, usb, npu or other."""

    name: str
    kind: str
    celsius: float
    status: int


@dataclass(frozen=True, slots=True)
class Thermal:
    """How hot the phone is.

    Attributes:
        status: 0 none to 6 shutdown; None: not told.
        temperatures: of the sensors, as they are now where the phone tells that.
        stale: it does not; they are the last ones at which something changed.
        overridden: somebody has set the status by hand (`cmd thermalservice override-status`).
        has_thresholds: the phone says at which temperatures it throttles. Where it does not, its
            status was seen to stay 0 however hot it became (Galaxy S10e); None: not told.
    """

    status: int | None
    temperatures: tuple[Temperature, ...]
    stale: bool
    overridden: bool
    has_thresholds: bool | None

    def hottest(self, kind: str) -> float | None:
        """The highest temperature of a kind of sensor."""
        return max((t.celsius for t in self.temperatures if t.kind == kind), default=None)


def status_name(status: int) -> str:
    """`severe` for 3."""
    return STATUS_NAMES[status] if 0 <= status < len(STATUS_NAMES) else str(status)


def parse_thermal(text: str) -> Thermal | None:
    """The dump; None where it tells neither a status nor a temperature."""
    found = _STATUS.search(text)
    status = int(found["status"]) if found else None
    sections = _sections(text)
    current = _temperatures(sections.get(_CURRENT, ""))
    temperatures = current or _temperatures(sections.get(_CACHED, ""))
    if status is None and not temperatures:
        return None
    thresholds = sections.get(_THRESHOLDS)
    return Thermal(
        status=status if status is not None and status < len(STATUS_NAMES) else None,
        temperatures=temperatures,
        stale=not current,
        overridden=_OVERRIDDEN.search(text) is not None,
        has_thresholds=None if thresholds is None else bool(thresholds.strip()),
    )


def _sections(text: str) -> dict[str, str]:
    heads = list(_SECTION.finditer(text))
    return {head[0].strip(): body for head, body in zip(heads, bodies(text, heads), strict=True)}


def _temperatures(text: str) -> tuple[Temperature, ...]:
    found: list[Temperature] = []
    for match in _TEMPERATURE.finditer(text):
        celsius = float(match["value"])
        kind = int(match["type"])
        plausible = math.isfinite(celsius) and _COLDEST < celsius < _HOTTEST
        if plausible and kind not in _NO_TEMPERATURES and len(found) < _MOST:
            name = clean(match["name"]) or "?"
            found.append(
                Temperature(name, _TYPES.get(kind, "other"), celsius, int(match["status"]))
            )
    return tuple(found)
