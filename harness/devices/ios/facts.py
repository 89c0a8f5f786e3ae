"""What an iOS device says of itself through Appium. Untrusted; whatever is missing is unknown.

Formats: appium-xcuitest-driver 12.7, docs/reference/execute-methods.md (`mobile: deviceInfo`,
`mobile: batteryInfo`) and lib/commands/types.ts (`LockdownInfo`). Of the latter only what names the
model and the system is kept: the rest are serial numbers and addresses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.base import Gate, HostFacts
from harness.devices.ios.settings import UDID

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.profiles import Profile

_TEXT: Final = 80
_HOTTEST: Final = 200
#: NSProcessInfoThermalState.
THERMAL: Final = ("nominal", "fair", "serious", "critical")
_BATTERY: Final = ("unknown", "unplugged", "charging", "full")
_CHARGES: Final = frozenset({"charging", "full"})
LEAST_BATTERY_PERCENT: Final = 20
#: `serious` and above: iOS has reduced the processors' and the GPU's speed.
HIGHEST_THERMAL: Final = 1


@dataclass(frozen=True, slots=True)
class IosFacts:
    """What is known of a device.

    Attributes:
        product_type: Apple's name of the model, "" where a simulator has none.
        model: in words, such as `iPhone`.
        release: of the system.
        build: of the system.
        simulator: whether it is one; its processors and memory are the Mac's.
        thermal: see `THERMAL`; None: unknown.
        battery_percent: None: unknown.
        battery_state: in words.
        temperature_celsius: of the battery, where iOS 18 and newer tell it.
    """

    product_type: str
    model: str
    release: str
    build: str
    simulator: bool
    thermal: int | None
    battery_percent: int | None
    battery_state: str
    temperature_celsius: float | None


def parse_facts(device: JsonValue, battery: JsonValue, capabilities: JsonValue) -> IosFacts:
    """The facts in what three commands answered. Never raises.

    Args:
        device: of `mobile: deviceInfo`.
        battery: of `mobile: batteryInfo`.
        capabilities: of the session, as the server gave them.
    """
    info, power, session = _map(device), _map(battery), _map(capabilities)
    lockdown, advanced = _map(info.get("lockdownInfo")), _map(power.get("advanced"))
    level, state = _number(power.get("level")), _whole(power.get("state"))
    thermal = _whole(info.get("thermalState"))
    celsius = _number(advanced.get("Temperature"))
    return IosFacts(
        product_type=_text(lockdown.get("ProductType")),
        model=_text(info.get("model") or lockdown.get("DeviceClass")),
        release=_text(
            lockdown.get("ProductVersion")
            or session.get("platformVersion")
            or session.get("appium:platformVersion")
        ),
        build=_text(lockdown.get("BuildVersion")),
        simulator=bool(info.get("isSimulator")),
        thermal=thermal if thermal is not None and thermal < len(THERMAL) else None,
        battery_percent=round(100 * level) if level is not None and level <= 1 else None,
        battery_state=_BATTERY[state] if state is not None and state < len(_BATTERY) else "unknown",
        # Some releases count in hundredths of a degree, as the gas gauge does.
        temperature_celsius=celsius if celsius is None or celsius < _HOTTEST else celsius / 100,
    )


def refusal(facts: IosFacts, profile: Profile) -> str | None:
    """Why this device is not the profile's, or `None`."""
    if profile.ios is None or facts.simulator:
        return None
    if facts.product_type in profile.ios.product_types:
        return None
    return (
        f"the device at {UDID} is {facts.product_type or 'of an unknown model'}, and {profile.name}"
        f" is {' or '.join(profile.ios.product_types)}"
    )


def host_facts(facts: IosFacts, profile: Profile) -> HostFacts:
    """The facts as records have them. iOS tells neither memory nor processors: the profile does."""
    hardware = profile.hardware
    extra: dict[str, JsonValue] = {
        "product_type": facts.product_type,
        "build": facts.build,
        "battery_percent": facts.battery_percent,
        "battery_state": facts.battery_state,
        "thermal": THERMAL[facts.thermal] if facts.thermal is not None else None,
        "memory_from": "the profile",
    }
    return HostFacts(
        # Never its name: people call their phones after themselves.
        host=facts.product_type or "simulator",
        operating_system=f"iOS {facts.release} ({facts.build})"
        if facts.build
        else f"iOS {facts.release}",
        cpu=hardware.soc or "unknown",
        cores=hardware.cores or 1,
        memory_bytes=hardware.memory or 0,
        browser="safari",
        # Safari has the system's version.
        browser_version=facts.release,
        temperature_celsius=facts.temperature_celsius,
        emulated=facts.simulator,
        extra=extra,
    )


def gates(facts: IosFacts) -> list[Gate]:
    """The conditions that must hold before a trial. Of a simulator none can be told."""
    if facts.simulator:
        return []
    found = []
    if facts.battery_percent is not None:
        powered = facts.battery_state in _CHARGES
        found.append(
            Gate(
                name="battery",
                passed=powered or facts.battery_percent >= LEAST_BATTERY_PERCENT,
                observed=f"{facts.battery_percent} %, {facts.battery_state}",
                limit=f"at least {LEAST_BATTERY_PERCENT} %, or charging",
            )
        )
    if facts.thermal is not None:
        found.append(
            Gate(
                name="thermal state",
                passed=facts.thermal <= HIGHEST_THERMAL,
                observed=THERMAL[facts.thermal],
                limit=f"at most {THERMAL[HIGHEST_THERMAL]}",
            )
        )
    return found


def _map(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _text(value: JsonValue) -> str:
    return value[:_TEXT] if isinstance(value, str) else ""


def _number(value: JsonValue) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and 0 <= value < 1 << 31 else None


def _whole(value: JsonValue) -> int | None:
    found = _number(value)
    return int(found) if found is not None and found == int(found) else None
