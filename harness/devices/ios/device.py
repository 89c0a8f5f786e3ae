"""An iPhone or iPad as a device, through an Appium server that the user runs beside it.

Seen at the level of the protocol only: docs/ios.md says what was not seen.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from harness.devices.appium.session import AppiumError, appium_session
from harness.devices.base import DeviceLostError
from harness.devices.ios import capabilities
from harness.devices.ios.facts import (
    HIGHEST_THERMAL,
    IosFacts,
    gates,
    host_facts,
    parse_facts,
    refusal,
)
from harness.devices.ios.session import IosSession
from harness.devices.ios.settings import missing_setting, read_settings
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from harness.devices.appium.capabilities import Capabilities
    from harness.devices.appium.session import AppiumSession
    from harness.devices.base import Child, Gate, HostFacts
    from harness.devices.ios.settings import IosSettings
    from harness.evidence import Timeline
    from harness.profiles import Profile

# What a device said of itself so long ago still holds.
FRESH_SECONDS: Final = 20.0
# A device that computed cools in minutes.
REST_SECONDS: Final = 300.0
_REST_PAUSE_SECONDS: Final = 5.0


def unusable_ios(profile: Profile) -> str | None:
    """Why an iOS profile cannot be used here and now, in one line, or `None`."""
    if profile.resource_limits.memory_bytes is not None or profile.resource_limits.cpus is not None:
        return "an iOS device cannot be given limits"
    if find_spec("appium") is None:
        return 'the Appium client is missing: pip install "tierlab[appium]"'
    if missing := missing_setting():
        return missing
    try:
        read_settings()
    except UserError as error:
        return error.problem
    return None


@asynccontextmanager
async def open_ios(
    profile: Profile, settings: IosSettings | None = None
) -> AsyncIterator[IosDevice]:
    """The device of a profile.

    Args:
        profile: of kind `ios`.
        settings: how it is reached; None: as the environment says.

    Raises:
        UserError: it cannot be reached, or is another model.
    """
    device = IosDevice(profile, settings or read_settings())
    await device.look()
    yield device


class IosDevice:
    """See `harness.devices.base.Device`.

    A device takes one Appium session at a time: that in Safari, or one on the home screen that is
    opened for a question and ended again.
    """

    def __init__(self, profile: Profile, settings: IosSettings) -> None:
        self.profile = profile
        self._settings = settings
        self._session: AppiumSession | None = None
        self._facts: IosFacts | None = None
        self._asked_at = 0.0

    @property
    def settings(self) -> IosSettings:
        """How it is reached."""
        return self._settings

    async def look(self, *, fresh_seconds: float = 0.0) -> IosFacts:
        """Ask the device what it is and how it is.

        Args:
            fresh_seconds: an answer that is not older is given again: without a session, a question
                costs one, which takes seconds.

        Raises:
            UserError: it is another model than the profile's, or cannot be reached at all.
            DeviceLostError: it was there before, and is not now.
        """
        now = asyncio.get_running_loop().time()
        if self._facts is not None and now - self._asked_at < fresh_seconds:
            return self._facts
        try:
            if self._session is not None:
                facts = await self._ask(self._session)
            else:
                wanted = capabilities.base(self._settings)
                async with appium_session(self._settings.appium, wanted) as session:
                    facts = await self._ask(session)
        except AppiumError as error:
            if self._facts is not None:
                raise DeviceLostError(f"the iOS device is gone: {error}") from error
            raise UserError(
                f"{self.profile.name} cannot be reached through {self._settings.appium}: {error}",
                "docs/ios.md says what Appium, the Mac and the device need",
            ) from error
        if reason := refusal(facts, self.profile):
            raise UserError(reason, "name the profile of this device, or set another UDID")
        self._facts, self._asked_at = facts, asyncio.get_running_loop().time()
        return facts

    async def _ask(self, session: AppiumSession) -> IosFacts:
        info = await session.script("mobile: deviceInfo")
        battery = await session.script("mobile: batteryInfo")
        return parse_facts(info, battery, session.capabilities)

    async def facts(self) -> HostFacts:
        """See `Device.facts`."""
        return host_facts(await self.look(fresh_seconds=FRESH_SECONDS), self.profile)

    async def gates(self) -> list[Gate]:
        """See `Device.gates`."""
        return gates(await self.look(fresh_seconds=FRESH_SECONDS))

    async def rest(self) -> bool:
        """See `Device.rest`: until the device is not hot; what else it does nobody is told."""
        try:
            async with asyncio.timeout(REST_SECONDS):
                while True:
                    if ((await self.look()).thermal or 0) <= HIGHEST_THERMAL:
                        return True
                    await asyncio.sleep(_REST_PAUSE_SECONDS)
        except TimeoutError:
            return False

    @asynccontextmanager
    async def session(
        self,
        timeline: Timeline,
        folder: Path,
        *,
        persistent: Path | None = None,  # noqa: ARG002 - Safari keeps what pages store, always
    ) -> AsyncIterator[IosSession]:
        """See `Device.session`. Safari is started anew; what pages stored stays.

        Raises:
            UserError: Safari cannot be started through Appium.
        """
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        wanted = capabilities.safari(self._settings)
        simulator = self._facts is not None and self._facts.simulator
        async with self._safari(wanted) as driver:
            self._session = driver
            session = IosSession(driver, timeline, folder, self._settings, simulator=simulator)
            try:
                yield session
            finally:
                self._session = None
                await session.close()

    @asynccontextmanager
    async def _safari(self, wanted: Capabilities) -> AsyncIterator[AppiumSession]:
        opening = appium_session(self._settings.appium, wanted)
        try:
            driver = await opening.__aenter__()
        except AppiumError as error:
            raise UserError(
                f"Safari does not start on {self.profile.name}: {error}",
                "check that Safari's Web Inspector and Remote Automation are on; see docs/ios.md",
            ) from error
        try:
            yield driver
        finally:
            await opening.__aexit__(None, None, None)

    def child(self, timeline: Timeline, folder: Path) -> AbstractAsyncContextManager[Child]:
        """See `Device.child`: iOS runs no programs but apps.

        Raises:
            UserError: always.
        """
        del timeline, folder
        raise UserError(
            "iOS runs no engine outside of a browser or an app", "choose an engine of a page"
        )

    async def overtaken(self) -> None:
        """See `Device.overtaken`: its lease is a lock of this machine."""

    async def recover(self) -> None:
        """See `Device.recover`: the next question opens a session of its own."""
        self._session = None
