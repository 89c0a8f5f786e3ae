"""The GPU and its drivers.

Formats: AOSP frameworks/native: SurfaceFlinger.cpp (`GLES: vendor, renderer, version`),
vulkan/vkjson (`cmd gpu vkjson`); frameworks/base: `pm list features`, whose Vulkan version is
VK_MAKE_API_VERSION's number.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from harness.devices.android.facts.text import clean

_GLES: Final = re.compile(r"^[ \t]*GLES: (?P<rest>[^\r\n]{1,400})", re.MULTILINE)
_VERSION: Final = re.compile(r",\s*(?P<version>OpenGL ES[ -].*)$")
# `Samsung Electronics Co., Ltd.` has a comma of its own.
_VENDOR: Final = re.compile(
    r"(?P<vendor>[^,]*?(?:, ?(?:Ltd|Inc|LLC|Corp)\.?)?)\s*,(?P<renderer>.*)", re.DOTALL
)
_FEATURE: Final = re.compile(
    r"^feature:android\.hardware\.vulkan\.version=(?P<version>\d{1,10})\s*$", re.MULTILINE
)
_LONGEST_JSON: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Gles:
    """What SurfaceFlinger renders with. None: not told."""

    vendor: str | None
    renderer: str
    version: str | None


@dataclass(frozen=True, slots=True)
class VulkanDevice:
    """A Vulkan device of `cmd gpu vkjson`."""

    name: str
    api_version: str
    driver: str | None


def parse_gles(text: str) -> Gles | None:
    """The `GLES:` line of `dumpsys SurfaceFlinger`.

    A renderer may hold commas (ANGLE names its backend): it is what lies between the first comma
    and the version.
    """
    match = _GLES.search(text)
    if match is None:
        return None
    rest = match["rest"].strip()
    version = _VERSION.search(rest)
    if version:
        rest = rest[: version.start()]
    parts = _VENDOR.match(rest)
    name = clean(parts["renderer"] if parts else rest)
    if name is None:
        return None
    return Gles(
        vendor=clean(parts["vendor"]) if parts else None,
        renderer=name,
        version=clean(version["version"]) if version else None,
    )


def parse_vulkan_feature(text: str) -> str | None:
    """The Vulkan version, such as `1.3.0`, that `pm list features` names; None: no Vulkan."""
    match = _FEATURE.search(text)
    return api_version(int(match["version"])) if match else None


def api_version(number: int) -> str:
    """`1.3.0` of Vulkan's packed number: ten bits, ten bits and twelve bits."""
    return f"{number >> 22 & 0x7F}.{number >> 12 & 0x3FF}.{number & 0xFFF}"


def parse_vkjson(text: str) -> list[VulkanDevice]:
    """The devices of `cmd gpu vkjson`; empty where it is no such JSON."""
    start = text.find("{")
    if start < 0 or len(text) > _LONGEST_JSON:
        return []
    try:
        found: Any = json.loads(text[start:])
    except (ValueError, RecursionError):
        return []
    devices = found.get("devices") if isinstance(found, dict) else None
    described = [_device(device) for device in devices] if isinstance(devices, list) else []
    return [device for device in described if device]


def _device(device: object) -> VulkanDevice | None:
    properties = device.get("properties") if isinstance(device, dict) else None
    if not isinstance(device, dict) or not isinstance(properties, dict):
        return None
    name, version = properties.get("deviceName"), properties.get("apiVersion")
    if not isinstance(name, str) or type(version) is not int or not 0 <= version < 1 << 32:
        return None
    return VulkanDevice(clean(name) or "?", api_version(version), _driver(device))


def _driver(device: dict[str, Any]) -> str | None:
    """`driverName driverInfo` of VK_KHR_driver_properties, which Vulkan 1.2 made its own."""
    for section in ("VK_KHR_driver_properties", "core12"):
        for part in ("driverPropertiesKHR", "properties"):
            found = device.get(section)
            found = found.get(part) if isinstance(found, dict) else None
            if isinstance(found, dict):
                words = (found.get("driverName"), found.get("driverInfo"))
                return clean(" ".join(word for word in words if isinstance(word, str)))
    return None
