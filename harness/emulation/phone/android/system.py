"""The Android of one virtual phone: `host_paths` and `create` are what the daemon calls."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

from harness.devices.browsers import InstalledBrowser, find_browser
from harness.devices.gpu import has_gpu
from harness.emulation.phone.android.apps_base import App, Intent, LaunchError
from harness.emulation.phone.android.boot import say_booted
from harness.emulation.phone.android.chrome.app import ChromeApp
from harness.emulation.phone.android.chrome.executable import program_of
from harness.emulation.phone.android.commands import all_commands
from harness.emulation.phone.android.controls import Controls
from harness.emulation.phone.android.dumps import folder_of, recorded, values
from harness.emulation.phone.android.group import MemoryGroup
from harness.emulation.phone.android.phone import Phone
from harness.emulation.phone.android.plain_app import PlainApp
from harness.emulation.phone.android.profile_state import first_state
from harness.emulation.phone.android.registry import GARBAGE
from harness.emulation.phone.android.sample_apps import load_samples, package_of
from harness.emulation.phone.android.simulated_app import SimulatedApp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.emulation.phone.android.state import Package
    from harness.emulation.phone.command import Android, Command, CommandIO, Place
    from harness.profiles import Profile

_LOG = logging.getLogger(__name__)


def host_paths(profile: Profile) -> Sequence[Path]:
    """What of the host the phone's programs read: the browser's folder, recorded dumps."""
    paths = []
    browser = _browser(profile)
    if isinstance(browser, InstalledBrowser):
        paths += [browser.path.resolve().parent, program_of(browser.path).parent]
    if (dumps := folder_of(profile.id)).is_dir():
        paths.append(dumps)
    return paths


def create(place: Place) -> Android:
    """The Android of one phone.

    Raises:
        UserError: the profile's recorded dumps are not right.
    """
    return AndroidSystem(place)


def _browser(profile: Profile) -> InstalledBrowser | str:
    """A Chromium of the host, in place of Chrome for Android: the profile's channels, or any."""
    section = profile.browser
    return find_browser(section.model_copy(update={"channels": (*section.channels, "chromium")}))


class AndroidSystem:
    """See `harness.emulation.phone.command.Android`.

    Args:
        place: where it runs.
    """

    def __init__(self, place: Place) -> None:
        profile, scope = place.profile, place.scope
        self._browser = _browser(profile)
        version = self._browser.version if isinstance(self._browser, InstalledBrowser) else ""
        limit = scope.limits.memory_bytes if scope else None
        state = first_state(profile, memory_bytes=limit, browser_version=version)
        state.on_unknown = place.unknown
        state.storage.folder = place.path("/data")
        self._samples = load_samples()
        for number, sample in enumerate(self._samples.values()):
            package = package_of(sample, number)
            state.packages[package.name] = package
        self._place = place
        self._group = MemoryGroup(scope, state.app_memory)
        self._phone = Phone(state, place, self._group, self._make_app)
        self._controls = Controls(self._phone)
        self._dumps = recorded(profile.id)
        self._commands = {
            name: self._answering(name, command)
            for name, command in all_commands(self._phone).items()
        }
        self._gpu = has_gpu()
        self._first_properties = dict(state.properties)

    @property
    def properties(self) -> dict[str, str]:
        """See `Android.properties`."""
        return self._phone.state.properties

    @property
    def commands(self) -> Mapping[str, Command]:
        """See `Android.commands`."""
        return self._commands

    @property
    def phone(self) -> Phone:
        """The parts, for tests."""
        return self._phone

    def _make_app(self, package: Package) -> App:
        state, place, group = self._phone.state, self._place, self._group
        android = place.profile.android
        sample = self._samples.get(package.name)
        webview = sample is not None and sample.webview is not None
        if webview or (android is not None and package.name == android.package):
            if not isinstance(self._browser, InstalledBrowser):
                return NoBrowser(package, state, place, group, self._browser)
            return ChromeApp(
                package,
                state,
                place,
                group,
                self._browser,
                gpu=self._gpu,
                webview=webview,
                url=(sample.webview if sample else None) or "about:blank",
            )
        if sample is not None:
            return SimulatedApp(sample, package, state, place, group)
        return PlainApp(package, state, place, group)

    def _answering(self, name: str, command: Command) -> Command:
        """The command behind what goes before it: garbage on demand, and recorded answers."""
        state = self._phone.state

        async def run(argv: Sequence[str], io: CommandIO) -> int:
            line = " ".join([name, *argv[1:]])
            if any(line == each or line.startswith(f"{each} ") for each in state.garbage):
                await io.out(GARBAGE)
                return 0
            if dump := self._dumps.get(line):
                filled = values(self._place.profile, state, self._group.used())
                await io.out(dump.render(filled))
                return dump.exit_code
            return await command(argv, io)

        return run

    async def start(self) -> None:
        """See `Android.start`."""
        state = self._phone.state
        # A reboot forgets what was set by hand, and keeps what is on the disk.
        state.properties.clear()
        state.properties.update(self._first_properties)
        # SystemServer.java, SYSPROP_START_UPTIME: how a restart is told from the time before it.
        state.properties["sys.system_server.start_uptime"] = str(round(time.monotonic() * 1000))
        state.foreground = None
        state.screen.on, state.screen.locked = True, False
        state.thermal.override = None
        state.log.clear(("main", "system", "events", "crash", "radio", "kernel"))
        say_booted(state)

    async def stop(self) -> None:
        """See `Android.stop`."""
        apps = list(self._phone.apps.values())
        await asyncio.gather(*(app.stop(by=os.getpid()) for app in apps), return_exceptions=True)
        self._phone.apps.clear()

    async def control(self, action: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """See `Android.control`."""
        return await self._controls.do(action, arguments)


class NoBrowser(PlainApp):
    """Chrome on a host without a Chromium: it is installed, and does not start."""

    def __init__(
        self, package: Package, state: object, place: Place, group: MemoryGroup, reason: str
    ) -> None:
        super().__init__(package, state, place, group)  # type: ignore[arg-type]
        self._reason = reason

    async def start(self, intent: Intent) -> bool:
        """Never starts.

        Raises:
            LaunchError: with the reason.
        """
        del intent
        raise LaunchError(self._reason)
