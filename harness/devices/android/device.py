"""A phone as a device: its browser, driven by raw CDP over adb."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

from harness.devices.android.adb import (
    CommandError,
    CommandTimeoutError,
    TransportLostError,
)
from harness.devices.android.artifacts import bugreport
from harness.devices.android.chrome import Chrome
from harness.devices.android.facts import PhoneFacts, read_facts
from harness.devices.android.gates import cool_down, gates
from harness.devices.android.lease_note import held_on_phone
from harness.devices.android.session import AndroidSession
from harness.devices.android.settings import prepared, wake
from harness.devices.base import DeviceLostError, HostFacts, LeaseLostError
from harness.devices.cdp import CdpError, CdpLostError, CdpTimeoutError
from harness.devices.device_state import phone_resource
from harness.devices.machine import rest_seconds
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    from pydantic import JsonValue

    from harness.devices.android.adb import Adb, Phone
    from harness.devices.android.lease_note import LeaseNote
    from harness.devices.base import Child, Gate
    from harness.evidence import Timeline
    from harness.profiles import AndroidSection, Profile

# Facts that are this fresh are not read again: they cost a phone a second of work.
FRESH_SECONDS: Final = 5.0
# A phone with its screen on is never as quiet as a desktop: the launcher, sensors, radios.
QUIET_PERCENT: Final = 25.0
QUIET_WINDOWS: Final = 2
REST_WINDOW_SECONDS: Final = 0.5
# A probe of some seconds warms a phone a little; a load is worth the wait.
COOL_SECONDS: Final = 120.0
RETURN_SECONDS: Final = 120.0
ANSWER_SECONDS: Final = 10.0
_CPU_ROW: Final = re.compile(r"^cpu\s+(?P<ticks>\d[\d ]{1,400})$", re.MULTILINE)


class AndroidDevice:
    """A phone, through the browser that a profile asks for. Use it in an `async with`.

    Args:
        profile: what the device is.
        adb: the server that it is attached to.
        phone: the phone.
        say: told in words what is unusual.
    """

    def __init__(
        self,
        profile: Profile,
        adb: Adb,
        phone: Phone,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        if profile.android is None:
            raise ValueError(f"{profile.id} is no Android profile")
        self.profile = profile
        self._android: AndroidSection = profile.android
        self._adb = adb
        self._phone = phone
        self._say = say
        self._lease: LeaseNote | None = None
        self._chrome = Chrome(phone, profile.android.package)
        self._open = AsyncExitStack()
        self._facts: tuple[float, PhoneFacts] | None = None
        self._unset: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        resource = phone_resource(self._phone.serial)
        async with AsyncExitStack() as opened:
            try:
                self._lease = await opened.enter_async_context(
                    held_on_phone(self._phone, resource, say=self._say)
                )
                await self._chrome.put_back_what_was_left()
                self._unset = await opened.enter_async_context(prepared(self._phone))
            except TransportLostError as error:
                raise _lost(error) from error
            self._open = opened.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.aclose()

    @property
    def phone(self) -> Phone:
        """The phone itself."""
        return self._phone

    async def facts(self) -> HostFacts:
        """See `Device.facts`.

        Raises:
            DeviceLostError: the phone is gone.
        """
        return host_facts(await self._read_facts(), self._android.package, self._unset)

    async def gates(self) -> list[Gate]:
        """See `Device.gates`.

        Raises:
            DeviceLostError: the phone is gone.
        """
        return gates(await self._read_facts(), self.profile)

    async def answers(self) -> str | None:
        """See `Answering.answers`: by a shell, which gates that are not known cannot tell of.

        Raises:
            DeviceLostError: the phone is gone.
        """
        try:
            await self._phone.run(["echo"], within=ANSWER_SECONDS)
        except TransportLostError as error:
            raise _lost(error) from error
        except (CommandError, CommandTimeoutError) as error:
            return f"its shell fails: {error}"
        return None

    async def _read_facts(self) -> PhoneFacts:
        if self._facts and time.monotonic() - self._facts[0] < FRESH_SECONDS:
            return self._facts[1]
        try:
            facts = await read_facts(self._phone, self._android.package)
        except* TransportLostError as group:
            raise _lost(group.exceptions[0]) from group
        self._facts = (time.monotonic(), facts)
        return facts

    async def rest(self) -> bool:
        """See `Device.rest`: until the phone is cool and its processors are quiet.

        Raises:
            DeviceLostError: the phone is gone.
        """
        try:
            cooled = await cool_down(self._phone, within=COOL_SECONDS)
            return await self._quiet() and cooled.came
        except TransportLostError as error:
            raise _lost(error) from error

    async def _quiet(self) -> bool:
        quiet, before = 0, await self._ticks()
        for _ in range(round(rest_seconds() / REST_WINDOW_SECONDS)):
            await asyncio.sleep(REST_WINDOW_SECONDS)
            now = await self._ticks()
            busy = busy_percent(before, now)
            if busy is None:
                return False  # the phone does not tell
            quiet, before = quiet + 1 if busy <= QUIET_PERCENT else 0, now
            if quiet == QUIET_WINDOWS:
                return True
        return False

    async def _ticks(self) -> str:
        try:
            return (await self._phone.run(["head", "-n", "1", "/proc/stat"], within=5)).text
        except (CommandError, CommandTimeoutError):
            return ""

    async def recover(self) -> None:
        """Bring the phone back after a fault of the lab's: connect, wait for its boot, tidy up.

        Raises:
            DeviceLostError: it does not come back in time.
        """
        self._facts = None
        if not await self._phone.wait_until_back(within=RETURN_SECONDS):
            raise DeviceLostError(
                f"the phone did not come back within {RETURN_SECONDS:.0f} s; look at its cable,"
                " its screen and `adb devices`"
            )
        try:
            # The connection stands, but perhaps the browser or its ports do not.
            await self._chrome.stop()
            await self._chrome.put_back_what_was_left()
            await wake(self._phone)
        except TransportLostError as error:
            raise _lost(error) from error

    async def overtaken(self) -> str | None:
        """See `Device.overtaken`: another host may have taken a phone that seemed dead."""
        return await self._lease.overtaken() if self._lease else None

    @asynccontextmanager
    async def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AsyncIterator[AndroidSession]:
        """See `Device.session`.

        Chrome on a phone has one profile, on its disk, and no private window that DevTools can
        open: so storage is always of the lasting kind, and what the harness's pages stored is
        removed when the session ends, `persistent` or not.

        Raises:
            DeviceLostError: the phone is gone before the session stands, or its browser cannot be
                driven.
            LeaseLostError: another host has taken the phone.
            UserError: the browser does not start.
        """
        del persistent
        if taken := await self.overtaken():
            raise LeaseLostError(taken)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            try:
                await wake(self._phone)
                await stack.enter_async_context(self._chrome.running(self.profile.browser.args))
                cdp, port = await stack.enter_async_context(self._chrome.devtools())
                session = AndroidSession(
                    self._chrome,
                    cdp,
                    port,
                    timeline,
                    folder,
                    packages=(self._android.package,),
                )
                stack.push_async_callback(session.close)
                await session.start()
            except TransportLostError as error:
                raise _lost(error) from error
            except (CdpError, CdpLostError, CdpTimeoutError) as error:
                words = f"{error}; look at the phone's screen: it may ask for something"
                raise DeviceLostError(words) from error
            yield session

    async def bug_report(self, path: Path, progress: Callable[[str], None]) -> str | None:
        """See `BugReporter.bug_report`."""
        await asyncio.to_thread(path.parent.mkdir, mode=0o700, parents=True, exist_ok=True)

        def step(done: int, of: int) -> None:
            progress(f"bug report: {done} of {of}")

        try:
            await bugreport(self._phone, path, step)
        except (CommandError, CommandTimeoutError, TransportLostError, UserError) as error:
            return f"no bug report: {error}"
        return None

    def child(self, timeline: Timeline, folder: Path) -> AbstractAsyncContextManager[Child]:
        """Not on a phone.

        Raises:
            UserError: always.
        """
        del timeline, folder
        raise UserError(
            f"{self.profile.id} is a phone: engines outside of a browser are not started there"
            " by the harness",
            "take a runtime of the browser, or see docs/native-android.md for native programs",
        )


def _lost(error: BaseException) -> DeviceLostError:
    if isinstance(error, LeaseLostError):
        return error
    return DeviceLostError(f"the phone cannot be reached: {error}")


def busy_percent(before: str, after: str) -> float | None:
    """The busy share of all processors between two first lines of `/proc/stat` (proc(5)).

    `None` where either is none.
    """
    found = [_CPU_ROW.search(text) for text in (before, after)]
    if not all(found):
        return None
    first, second = ([int(word) for word in f["ticks"].split()] for f in found if f)
    spent = [b - a for a, b in zip(first, second, strict=False)]
    total = sum(spent[:8])  # guest time is part of user time
    idle = sum(spent[3:5])
    return None if total <= 0 else 100.0 * (total - idle) / total


def host_facts(facts: PhoneFacts, package: str, unset: tuple[str, ...] = ()) -> HostFacts:
    """A phone's facts as those of a device. What is not known is said to be so, or zero."""
    name = " ".join(filter(None, (facts.manufacturer, facts.model))) or "a phone"
    battery, thermal = facts.battery, facts.thermal
    sensors = [t.celsius for t in thermal.temperatures] if thermal else []
    return HostFacts(
        host=name,
        operating_system=f"Android {facts.release or '?'} (API {facts.api or '?'})",
        cpu=facts.soc or facts.abi or "not known",
        cores=facts.cores or 0,
        memory_bytes=facts.memory_bytes or 0,
        browser=package,
        browser_version=facts.chrome_version or "",
        temperature_celsius=max(sensors, default=battery.celsius if battery else None),
        emulated=facts.emulated,
        extra=_extra(facts, unset),
    )


def _extra(facts: PhoneFacts, unset: tuple[str, ...]) -> dict[str, JsonValue]:
    battery, thermal = facts.battery, facts.thermal
    told: dict[str, JsonValue] = {
        "fingerprint": facts.fingerprint,
        "abi": facts.abi,
        "gpu": facts.gpu,
        "vulkan": facts.vulkan,
        "vulkan_driver": facts.vulkan_driver,
        "available_bytes": facts.available_bytes,
        "storage_free_bytes": facts.storage_free_bytes,
        "thermal_status": thermal.status if thermal else None,
        "battery_percent": battery.percent if battery else None,
        "battery_celsius": battery.celsius if battery else None,
        "battery_status": battery.status if battery else None,
        "webview_package": facts.webview_package,
        "webview_version": facts.webview_version,
        "settings_not_set": list(unset) or None,
        "missing": dict(facts.missing) or None,
    }
    return {key: value for key, value in told.items() if value is not None}
