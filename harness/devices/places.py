"""Which live device a profile stands for here and now, how it is leased, and how it is opened.

A desktop profile is this machine, unless it is a spec sheet only: then it is no device. An Android
profile is whichever attached phone matches it, or, with `--emulate`, a virtual phone that this run
starts and ends. An iOS profile is a device behind an Appium server.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.browsers import find_browser
from harness.devices.desktop import DesktopDevice
from harness.emulation.limits import find_limiter
from harness.errors import UserError
from harness.profiles import BrowserSection

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from harness.ab import Setup
    from harness.devices.android.adb import Adb
    from harness.devices.base import Device
    from harness.devices.power_cycle import PowerCycle
    from harness.emulation.phone.faults import FaultPlan
    from harness.emulation.phone.start import VirtualPhone
    from harness.profiles import Profile

# How long a phone that was lost may take to come back: a reboot takes most of this.
RETURN_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Place:
    """One live device that can be leased.

    Attributes:
        resource: what the lease is taken on.
        open: opens the device, once the lease is held.
    """

    resource: str
    open: Callable[[], AbstractAsyncContextManager[Device]]


@dataclass(frozen=True, slots=True)
class PlacesSettings:
    """What was asked for beside the profiles.

    Attributes:
        emulate: whether Android profiles stand for virtual phones.
        serial: the one phone that may be used; None: any that matches.
        work: where virtual phones keep their logs.
        faults: what happens to virtual phones meanwhile.
        power_cycle: the command that switches the power of phones off and on.
    """

    emulate: bool = False
    serial: str | None = None
    work: Path = Path("tierlab-results/phones")
    faults: FaultPlan | None = None
    power_cycle: PowerCycle | None = None


def unusable(profile: Profile, settings: PlacesSettings) -> str | None:
    """Why a profile cannot be used on this machine now, or `None`."""
    if profile.spec_sheet_only:
        return str(
            UserError(
                "spec sheet only: another machine, of which its figures are known",
                f"tierlab predict --device={profile.id} --model=gemma-2b",
            )
        )
    match profile.kind:
        case "desktop":
            return _unusable_desktop(profile)
        case "android":
            return _unusable_phone(profile, settings)
        case "ios":
            from harness.devices.ios.device import unusable_ios  # noqa: PLC0415 - an extra

            return unusable_ios(profile)


def _unusable_desktop(profile: Profile) -> str | None:
    found = find_browser(profile.browser)
    return found if isinstance(found, str) else _without_limiter(profile)


def _without_limiter(profile: Profile) -> str | None:
    """Why the limits that are asked for cannot be set, or `None`."""
    if not _is_limited(profile):
        return None
    try:
        find_limiter()
    except UserError as error:
        return str(error)
    return None


def _is_limited(profile: Profile) -> bool:
    limits = profile.resource_limits
    return limits.memory_bytes is not None or limits.cpus is not None


def _unusable_phone(profile: Profile, settings: PlacesSettings) -> str | None:
    if find_spec("adbutils") is None and shutil.which("adb") is None:
        return str(UserError("there is no adb on this machine", "run `./lab setup`"))
    if settings.emulate:
        found = find_browser(BrowserSection(channels=("chrome", "chromium", "msedge")))
        return found if isinstance(found, str) else _without_limiter(profile)
    if _is_limited(profile):
        return "a phone cannot be given limits; a virtual one can: --emulate"
    from harness.devices.android.adb import Adb  # noqa: PLC0415 - an extra
    from harness.devices.android.discovery import find_phones  # noqa: PLC0415 - an extra

    async def look() -> None:
        adb = Adb()
        await adb.ensure_server()
        await find_phones(adb, profile, serial=settings.serial)

    try:
        asyncio.run(look())
    except UserError as error:
        return str(error)
    return None


class Places:
    """The devices of one laboratory. What it starts ends with `close`.

    Args:
        settings: what was asked for.
        say: told in words what takes time.
    """

    def __init__(self, settings: PlacesSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._started = AsyncExitStack()
        self._adb: Adb | None = None
        self._virtual: dict[str, VirtualPhone] = {}
        self._known: dict[str, str] = {}

    async def close(self) -> None:
        """End what was started."""
        await self._started.aclose()

    async def of(self, profile: Profile, setup: Setup) -> list[Place]:
        """The live devices that a profile stands for, the best first; at least one.

        Raises:
            UserError: there is none; the message says why, and what to do.
        """
        match profile.kind:
            case "desktop":
                return [Place("machine", lambda: DesktopDevice(profile, setup.browser))]
            case "android":
                return await self._phones(profile)
            case "ios":
                from harness.devices.ios.device import open_ios  # noqa: PLC0415 - an extra

                return [Place(f"ios-{profile.id}", lambda: open_ios(profile))]

    async def _phones(self, profile: Profile) -> list[Place]:
        serials = (
            [await self._virtual_phone(profile)]
            if self._settings.emulate
            else await self._attached(profile)
        )
        return [self._phone(profile, serial) for serial in serials]

    def _phone(self, profile: Profile, serial: str) -> Place:
        from harness.devices.android.device import AndroidDevice  # noqa: PLC0415 - an extra

        if self._adb is None:
            raise RuntimeError("a phone without an adb server")
        adb = self._adb
        return Place(
            "phone-" + re.sub(r"[^A-Za-z0-9.-]", "_", serial),
            lambda: AndroidDevice(profile, adb, adb.phone(serial)),
        )

    async def _attached(self, profile: Profile) -> list[str]:
        """The serials of the attached phones that match."""
        from harness.devices.android.discovery import find_phones  # noqa: PLC0415 - an extra

        adb = await self._server()
        known = self._known.get(profile.id)
        try:
            found = await find_phones(adb, profile, serial=self._settings.serial)
        except UserError:
            # One that was there before may be on its way back: from a reboot, or a loose cable.
            if known is None or not await self._returns(adb, known):
                self._known.pop(profile.id, None)  # what comes next need not wait for it again
                raise
            found = await find_phones(adb, profile, serial=self._settings.serial)
        self._known[profile.id] = found[0].serial
        return [phone.serial for phone in found]

    async def _returns(self, adb: Adb, serial: str) -> bool:
        self._say(f"{serial} is gone; waiting up to {RETURN_SECONDS:.0f} s for it")
        return await adb.phone(serial).wait_until_back(within=RETURN_SECONDS)

    async def _virtual_phone(self, profile: Profile) -> str:
        """The address of this run's virtual phone of a profile, started at the first call."""
        from harness.emulation.phone.start import virtual_phone  # noqa: PLC0415

        adb = await self._server()
        phone = self._virtual.get(profile.id)
        if phone is not None and phone.alive:
            if not await adb.phone(phone.address).wait_until_back(within=RETURN_SECONDS):
                raise UserError(
                    f"the virtual {profile.name} does not come back at {phone.address}",
                    "see its log among the run's raw evidence",
                )
            return phone.address
        self._say(f"starting a virtual {profile.name}")
        phone = await self._started.enter_async_context(
            virtual_phone(
                profile, work=self._settings.work / profile.id, memory_bytes=profile.limits.memory
            )
        )
        for lack in phone.missing:
            self._say(f"{profile.id}: this host does not permit {lack}")
        await adb.connect(phone.address)
        self._started.push_async_callback(adb.disconnect, phone.address)
        if self._settings.faults is not None:
            playing = asyncio.create_task(self._play(self._settings.faults, phone))
            self._started.push_async_callback(_cancelled, playing)
        self._virtual[profile.id] = phone
        return phone.address

    async def _play(self, faults: FaultPlan, phone: VirtualPhone) -> None:
        try:
            await faults.play(
                phone.control, lambda fault: self._say(f"fault: {fault.action} of {phone.address}")
            )
        except UserError as error:
            self._say(f"no more faults: {error}")
        else:
            self._say("that was the last fault")

    async def _server(self) -> Adb:
        """The adb server: the user's own; for virtual phones one that ends with this run."""
        if self._adb is None:
            from harness.devices.android.adb import Adb  # noqa: PLC0415 - an extra
            from harness.devices.android.private import private_server  # noqa: PLC0415

            if self._settings.emulate:
                self._adb = await self._started.enter_async_context(private_server())
            else:
                self._adb = Adb()
                await self._adb.ensure_server()
        return self._adb


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
