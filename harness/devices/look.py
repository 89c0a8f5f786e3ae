"""What is known of all devices at one moment, gathered in one round over all phones."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from harness.devices.base import DeviceLostError
from harness.devices.device_state import load_all, phone_resource
from harness.devices.lease import holders
from harness.devices.overview import Facts
from harness.devices.places import unusable
from harness.errors import UserError
from harness.state import host_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.devices.android.adb import Adb
    from harness.devices.android.discovery import Found, Unready
    from harness.devices.places import PlacesSettings
    from harness.profiles import Profile


def gather(profiles: Sequence[Profile], settings: PlacesSettings) -> Facts:
    """Look at everything. Phones are asked all at once, each once."""
    phones: list[Found | Unready] = []
    elsewhere: dict[str, str] = {}
    no_phones = None
    if not settings.emulate and any(p.kind == "android" for p in profiles):
        try:
            phones, elsewhere = asyncio.run(_phones(settings.serial))
        except UserError as error:
            no_phones = error.problem
    return Facts(
        now=datetime.now(UTC),
        blocked=_blocked(profiles, settings),
        phones=phones,
        no_phones=no_phones,
        elsewhere=elsewhere,
        states={state.resource: state for state in load_all()},
        holders={holder.resource: holder for holder in holders()},
        emulated=settings.emulate,
    )


def _blocked(profiles: Sequence[Profile], settings: PlacesSettings) -> dict[str, tuple[str, str]]:
    """Why profiles cannot be used whatever is attached: a browser, a limiter, a client is missing.

    Whether phones are attached is not asked of each.
    """
    found = {}
    for profile in profiles:
        real_phone = profile.kind == "android" and not settings.emulate
        if real_phone and not profile.spec_sheet_only:
            continue
        if reason := unusable(profile, settings, withheld=False):
            problem, _, step = reason.partition("\n  -> ")
            found[profile.id] = (problem, step)
    return found


async def _phones(serial: str | None) -> tuple[list[Found | Unready], dict[str, str]]:
    """The attached phones, and who holds them from another host."""
    if find_spec("adbutils") is None and shutil.which("adb") is None:
        raise UserError("there is no adb on this machine", "run `./lab setup`")
    from harness.devices.android.adb import Adb  # noqa: PLC0415 - an extra
    from harness.devices.android.discovery import Found, survey  # noqa: PLC0415 - an extra

    adb = Adb()
    phones = [phone for phone in await survey(adb) if serial in {None, phone.serial}]
    ready = [phone for phone in phones if isinstance(phone, Found)]
    told = await asyncio.gather(*(_elsewhere(adb, phone.serial) for phone in ready))
    return phones, {
        phone_resource(phone.serial): words
        for phone, words in zip(ready, told, strict=True)
        if words is not None
    }


async def _elsewhere(adb: Adb, serial: str) -> str | None:
    from harness.devices.android.lease_note import look  # noqa: PLC0415 - an extra

    try:
        seen = await look(adb.phone(serial))
    except DeviceLostError:
        return None  # it is about to go away: the next look tells
    here = seen.noted is not None and seen.noted.host_id == host_id()
    return None if here or not seen.held else f"in use by {seen.holder}"
