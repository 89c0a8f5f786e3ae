"""Which live device a profile stands for here and now, how it is leased, and how it is opened.

A desktop profile is this machine, unless it is a spec sheet only: then it is no device. An Android
profile is whichever attached phone matches it, or, with `--emulate`, a virtual phone that this run
starts and ends. An iOS profile is a device behind an Appium server.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.base import DeviceLostError
from harness.devices.browsers import find_browser
from harness.devices.desktop import DesktopDevice
from harness.devices.device_state import forget, load, phone_resource
from harness.devices.health import give_back, why_withheld
from harness.devices.recovery import Bounds
from harness.emulation.limits import find_limiter
from harness.errors import UserError
from harness.profiles import BrowserSection
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from harness.ab import Setup
    from harness.devices.android.adb import Adb
    from harness.devices.base import Device
    from harness.devices.power_cycle import PowerCycle
    from harness.devices.recovery import Rung
    from harness.emulation.phone.faults import FaultPlan
    from harness.emulation.phone.start import VirtualPhone
    from harness.profiles import Profile


@dataclass(frozen=True, slots=True)
class Place:
    """One live device that can be leased.

    Attributes:
        resource: what the lease is taken on.
        open: opens the device, once the lease is held.
        rungs: how it is helped, the gentlest way first.
        away: why it cannot be opened as it is: it was there, and is not now.
    """

    resource: str
    open: Callable[[], AbstractAsyncContextManager[Device]]
    rungs: tuple[Rung, ...] = ()
    away: str | None = None


@dataclass(frozen=True, slots=True)
class PlacesSettings:
    """What was asked for beside the profiles.

    Attributes:
        emulate: whether Android profiles stand for virtual phones.
        serial: the one phone that may be used; None: any that matches.
        work: where virtual phones keep their logs.
        faults: what happens to virtual phones meanwhile.
        power_cycle: the command that switches the power of phones off and on.
        bounds: how long each way to help a phone may take.
    """

    emulate: bool = False
    serial: str | None = None
    work: Path = Path("tierlab-results/phones")
    faults: FaultPlan | None = None
    power_cycle: PowerCycle | None = None
    bounds: Bounds = field(default_factory=Bounds)


def unusable(profile: Profile, settings: PlacesSettings, *, withheld: bool = True) -> str | None:
    """Why a profile cannot be used on this machine now, or `None`.

    Args:
        profile: the profile.
        settings: what was asked for beside it.
        withheld: whether what people say counts: that all its devices are drained, or in repair.
    """
    if profile.spec_sheet_only:
        return str(
            UserError(
                "spec sheet only: another machine, of which its figures are known",
                f"tierlab predict --device={profile.id} --model=gemma-2b",
            )
        )
    match profile.kind:
        case "desktop":
            return _unusable_desktop(profile) or (_withheld("machine") if withheld else None)
        case "android":
            return _unusable_phone(profile, settings)
        case "ios":
            from harness.devices.ios.device import unusable_ios  # noqa: PLC0415 - an extra

            told = unusable_ios(profile)
            return told or (_withheld(f"ios-{profile.id}") if withheld else None)


def _withheld(*resources: str) -> str | None:
    """Who keeps all of these devices from use, why, and how to have them back; or `None`."""
    states = [load(resource) for resource in resources]
    told = [why_withheld(state) for state in states]
    if None in told:
        return None
    lines = zip(states, told, strict=True)
    return "\n".join(
        f"{state.resource} is {reason}\n  -> {give_back(state)}" for state, reason in lines
    )


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

    async def look() -> list[str]:
        adb = Adb()
        await adb.ensure_server()
        found = await find_phones(adb, profile, serial=settings.serial)
        return [phone_resource(phone.serial) for phone in found]

    try:
        return _withheld(*asyncio.run(look()))
    except UserError as error:
        return str(error)


def expected(profile: Profile, settings: PlacesSettings) -> bool:
    """Whether the one phone that is asked for is known to be of a profile, attached or not.

    One that is away can be helped: a run that asks for it need not end before it was tried.
    """
    if settings.serial is None or settings.emulate or profile.kind != "android":
        return False
    state = load(phone_resource(settings.serial))
    return state.profile == profile.id and why_withheld(state) is None


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
        self._known: dict[str, dict[str, None]] = {}  # serials by profile, in their order

    async def close(self) -> None:
        """End what was started."""
        await self._started.aclose()

    async def of(self, profile: Profile, setup: Setup) -> list[Place]:
        """The live devices that a profile stands for, and phones that were; at least one.

        Raises:
            UserError: there is none; the message says why, and what to do.
        """
        match profile.kind:
            case "desktop":
                return [Place("machine", lambda: DesktopDevice(profile, setup.browser))]
            case "android":
                if self._settings.emulate:
                    return [await self._virtual_phone(profile)]
                return await self._attached(profile)
            case "ios":
                from harness.devices.ios.device import open_ios  # noqa: PLC0415 - an extra

                return [Place(f"ios-{profile.id}", lambda: open_ios(profile))]

    def _phone(self, profile: Profile, adb: Adb, serial: str, *, away: str | None = None) -> Place:
        from harness.devices.android.device import AndroidDevice  # noqa: PLC0415 - an extra
        from harness.devices.android.rungs import phone_rungs  # noqa: PLC0415 - an extra

        phone = adb.phone(serial)
        return Place(
            phone_resource(serial),
            lambda: AndroidDevice(profile, adb, phone, self._say),
            phone_rungs(phone, self._settings.power_cycle, self._settings.bounds),
            away,
        )

    async def _attached(self, profile: Profile) -> list[Place]:
        """The attached phones that match, and those that did and are away."""
        from harness.devices.android.discovery import find_phones  # noqa: PLC0415 - an extra

        adb, serial = await self._server(), self._settings.serial
        known = self._known.setdefault(profile.id, {})
        if serial is not None and expected(profile, self._settings):
            known.setdefault(serial)
        try:
            found = [one.serial for one in await find_phones(adb, profile, serial=serial)]
            why = f"adb does not see it as a {profile.name} any more"
        except UserError as error:
            if not known:
                raise
            found, why = [], plain(error.problem)
        known |= dict.fromkeys(found)
        attached = [self._phone(profile, adb, each) for each in found]
        gone = [each for each in known if each not in found]
        return attached + [self._phone(profile, adb, each, away=why) for each in gone]

    async def _virtual_phone(self, profile: Profile) -> Place:
        """This run's virtual phone of a profile, started at the first call."""
        from harness.devices.android.states import READY  # noqa: PLC0415 - an extra
        from harness.emulation.phone.start import virtual_phone  # noqa: PLC0415

        adb = await self._server()
        phone = self._virtual.get(profile.id)
        if phone is not None and phone.alive:
            state = await self._state(adb, phone.address)
            away = None if state == READY else f"adb calls it {state}"
            return self._phone(profile, adb, phone.address, away=away)
        self._say(f"starting a virtual {profile.name}")
        phone = await self._started.enter_async_context(
            virtual_phone(
                profile, work=self._settings.work / profile.id, memory_bytes=profile.limits.memory
            )
        )
        for lack in phone.missing:
            self._say(f"{profile.id}: this host does not permit {lack}")
        # Another one that is known by this address has ended, and so will this one.
        forget(phone_resource(phone.address))
        self._started.callback(forget, phone_resource(phone.address))
        await adb.connect(phone.address)
        self._started.push_async_callback(adb.disconnect, phone.address)
        if self._settings.faults is not None:
            playing = asyncio.create_task(self._play(self._settings.faults, phone))
            self._started.push_async_callback(_cancelled, playing)
        self._virtual[profile.id] = phone
        return self._phone(profile, adb, phone.address)

    async def _state(self, adb: Adb, serial: str) -> str:
        """The state of a phone in adb's words, or that there is none."""
        try:
            return await adb.state_of(serial) or "gone"
        except DeviceLostError as error:  # the server itself
            return f"nothing: {error}"

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
