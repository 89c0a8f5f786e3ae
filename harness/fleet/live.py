"""Which live devices a profile stands for now, as the resources that leases are taken on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.devices.device_state import load, phone_resource
from harness.devices.health import admitted
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.devices.places import PlacesSettings
    from harness.profiles import Profile


def live_resources(profile: Profile, settings: PlacesSettings) -> tuple[str, ...]:
    """The resources of a usable profile, those that are set aside left out; at least one.

    With `--emulate` each profile has a virtual phone of its own, which is not there yet.
    """
    found = _resources(profile, settings)
    now = datetime.now(UTC)
    return tuple(it for it in found if admitted(load(it), now) is None) or found[:1]


def _resources(profile: Profile, settings: PlacesSettings) -> tuple[str, ...]:
    match profile.kind:
        case "desktop":
            return ("machine",)
        case "ios":
            return (f"ios-{profile.id}",)
        case "android" if settings.emulate:
            return (f"virtual-{profile.id}",)
        case "android":
            return asyncio.run(_phones(profile, settings)) or (f"missing-{profile.id}",)


async def _phones(profile: Profile, settings: PlacesSettings) -> tuple[str, ...]:
    from harness.devices.android.adb import Adb  # noqa: PLC0415 - an extra
    from harness.devices.android.discovery import find_phones  # noqa: PLC0415 - an extra

    try:
        found = await find_phones(Adb(), profile, serial=settings.serial)
    except UserError:
        return ()
    return tuple(phone_resource(phone.serial) for phone in found)
