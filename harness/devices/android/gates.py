"""The conditions that must hold on a phone before a trial, and waiting until it has cooled down.

A closed gate is `infra`: it says nothing about the phone's abilities.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.android.facts.battery import parse_battery
from harness.devices.android.facts.packages import major_version
from harness.devices.android.facts.thermal import parse_thermal, status_name
from harness.devices.android.failures import CommandError, CommandTimeoutError
from harness.devices.base import Gate
from harness.emulation.limits import format_bytes

if TYPE_CHECKING:
    from harness.devices.android.facts import PhoneFacts
    from harness.devices.android.facts.battery import Battery
    from harness.devices.android.facts.thermal import Thermal
    from harness.devices.android.phone import Phone
    from harness.profiles import Profile

# Between two looks at a phone that cools down; its battery follows within minutes.
_LOOK_SECONDS: Final = 5.0
_BY_HAND: Final = "set by hand"


@dataclass(frozen=True, slots=True)
class GateLimits:
    """What must hold before a trial.

    Attributes:
        least_battery_percent: below it, Android starts to save power.
        most_battery_celsius: of the battery. Phones slow down from about 40 on, and idle below 32.
        most_thermal_status: 0 none to 6 shutdown. From 1 on the phone is already held back.
        least_storage_bytes: free on `/data`, beside the models.
        least_memory_bytes: available.
        power: what may power the phone: any of `battery`, `ac`, `usb`, `wireless`, `dock`.
    """

    least_battery_percent: float = 30.0
    most_battery_celsius: float = 38.0
    most_thermal_status: int = 0
    least_storage_bytes: int = 2 << 30
    least_memory_bytes: int = 768 << 20
    power: frozenset[str] = frozenset({"battery", "ac", "usb", "wireless", "dock"})


DEFAULT_LIMITS: Final = GateLimits()


@dataclass(frozen=True, slots=True)
class CoolDown:
    """How a wait for a cooler phone ended; the last values that were seen."""

    came: bool
    seconds: float
    thermal_status: int | None
    battery_celsius: float | None


def gates(facts: PhoneFacts, profile: Profile, limits: GateLimits = DEFAULT_LIMITS) -> list[Gate]:
    """The gates of a phone with these facts.

    What is not known closes its gate, except where some releases of Android do not tell it: thermal
    status (Android 9), lock screen and power source.
    """
    battery, thermal = facts.battery, facts.thermal
    return [
        _battery_level(facts, battery, limits),
        _battery_temperature(facts, battery, limits),
        _thermal(facts, thermal, limits),
        _bytes(
            facts, "free storage", "storage", facts.storage_free_bytes, limits.least_storage_bytes
        ),
        _bytes(
            facts,
            "free memory",
            "available_bytes",
            facts.available_bytes,
            limits.least_memory_bytes,
        ),
        _screen(facts),
        _unlocked(facts),
        _browser(facts, profile),
        _power(facts, battery, limits),
    ]


async def cool_down(
    phone: Phone,
    limits: GateLimits = DEFAULT_LIMITS,
    *,
    within: float,
    every: float = _LOOK_SECONDS,
) -> CoolDown:
    """Wait until the phone's thermal status and battery are within `limits`.

    Args:
        phone: the phone.
        limits: what it must come back to.
        within: how many seconds to wait, at most. Zero: one look.
        every: seconds between two looks.

    Raises:
        TransportLostError: the phone is gone.
    """
    started = time.monotonic()
    while True:
        thermal, battery = await _thermal_now(phone), await _battery_now(phone)
        status = thermal.status if thermal else None
        celsius = battery.celsius if battery else None
        # What is not told cannot be waited for.
        cool = (status is None or status <= limits.most_thermal_status) and (
            celsius is None or celsius <= limits.most_battery_celsius
        )
        spent = time.monotonic() - started
        if cool or spent + every > within:
            return CoolDown(cool, spent, status, celsius)
        await asyncio.sleep(every)


def _battery_level(facts: PhoneFacts, battery: Battery | None, limits: GateLimits) -> Gate:
    limit = f"at least {limits.least_battery_percent:g} %"
    percent = battery.percent if battery else None
    if battery is None or percent is None:
        return _unknown(facts, "battery", "battery level", limit)
    observed = f"{percent:g} %" + (f" ({_BY_HAND}: `dumpsys battery reset`)" * battery.faked)
    passed = percent >= limits.least_battery_percent and not battery.faked
    return Gate("battery level", passed, observed, limit)


def _battery_temperature(facts: PhoneFacts, battery: Battery | None, limits: GateLimits) -> Gate:
    limit = f"at most {limits.most_battery_celsius:g} °C"
    celsius = battery.celsius if battery else None
    if battery is None or celsius is None:
        return _unknown(facts, "battery", "battery temperature", limit)
    observed = f"{celsius:g} °C" + (f" ({_BY_HAND}: `dumpsys battery reset`)" * battery.faked)
    passed = celsius <= limits.most_battery_celsius and not battery.faked
    return Gate("battery temperature", passed, observed, limit)


def _thermal(facts: PhoneFacts, thermal: Thermal | None, limits: GateLimits) -> Gate:
    limit = f"at most {status_name(limits.most_thermal_status)}"
    status = thermal.status if thermal else None
    if thermal is None or status is None:
        return _unknown(facts, "thermal", "thermal status", limit, passed=True)
    by_hand = f" ({_BY_HAND}: `cmd thermalservice reset`)" * thermal.overridden
    passed = status <= limits.most_thermal_status and not thermal.overridden
    return Gate("thermal status", passed, status_name(status) + by_hand, limit)


def _bytes(facts: PhoneFacts, name: str, fact: str, free: int | None, least: int) -> Gate:
    limit = f"at least {format_bytes(least)}"
    if free is None:
        return _unknown(facts, fact, name, limit)
    return Gate(name, free >= least, format_bytes(free) if free else "0 B", limit)


def _screen(facts: PhoneFacts) -> Gate:
    if facts.screen_on is None:
        return _unknown(facts, "screen_on", "screen", "on")
    return Gate("screen", facts.screen_on, "on" if facts.screen_on else "off", "on")


def _unlocked(facts: PhoneFacts) -> Gate:
    if facts.unlocked is None:
        return _unknown(facts, "unlocked", "lock screen", "gone", passed=True)
    observed = "gone" if facts.unlocked else "shown: unlock the phone"
    return Gate("lock screen", facts.unlocked, observed, "gone")


def _browser(facts: PhoneFacts, profile: Profile) -> Gate:
    least = profile.browser.minimum_version
    name = profile.android.package if profile.android else "browser"
    version = facts.chrome_version
    major = major_version(version) if version else None
    if version is None or major is None:
        return _unknown(facts, "chrome_version", name, f"at least version {least}")
    return Gate(name, major >= least, f"version {version}", f"at least version {least}")


def _power(facts: PhoneFacts, battery: Battery | None, limits: GateLimits) -> Gate:
    limit = " or ".join(sorted(limits.power))
    if battery is None or battery.sources is None:
        return _unknown(facts, "battery", "power source", limit, passed=True)
    sources = battery.sources or ("battery",)
    observed = " and ".join(sources) + (f", {battery.status}" if battery.status else "")
    return Gate("power source", set(sources) <= limits.power, observed, limit)


def _unknown(facts: PhoneFacts, fact: str, name: str, limit: str, *, passed: bool = False) -> Gate:
    return Gate(name, passed, f"unknown: {facts.missing.get(fact, 'not told')}", limit)


async def _thermal_now(phone: Phone) -> Thermal | None:
    return parse_thermal(await _said(phone, "thermalservice"))


async def _battery_now(phone: Phone) -> Battery | None:
    return parse_battery(await _said(phone, "battery"))


async def _said(phone: Phone, service: str) -> str:
    try:
        return (await phone.run(["dumpsys", service])).text
    except (CommandError, CommandTimeoutError):
        return ""
