"""What the commands work on: the state, the apps, the group, and where the phone is."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.emulation.phone.android.deaths import LMKD_PID, SYSTEM_SERVER_PID, ZYGOTE_PID
from harness.emulation.phone.android.state import SHELL_UID, SYSTEM_UID, Package, Process

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.emulation.phone.android.apps_base import App, Intent
    from harness.emulation.phone.android.group import MemoryGroup
    from harness.emulation.phone.android.state import State
    from harness.emulation.phone.command import Place

HOME: str = "com.google.android.apps.nexuslauncher/.NexusLauncherActivity"


@dataclass(slots=True)
class Phone:
    """The parts of one phone. `make_app` gives what runs a package that was installed."""

    state: State
    place: Place
    group: MemoryGroup
    make_app: Callable[[Package], App]
    apps: dict[str, App] = field(default_factory=dict)

    def app(self, package: str) -> App | None:
        """What runs a package; `None` where it is not installed or has no activity."""
        installed = self.state.packages.get(package)
        if installed is None or installed.activity is None:
            return None
        if package not in self.apps:
            self.apps[package] = self.make_app(installed)
        return self.apps[package]

    async def launch(self, app: App, intent: Intent) -> bool:
        """Start an app and bring it to the front; whether it was a cold start.

        Raises:
            LaunchError: it does not start.
        """
        cold = await app.start(intent)
        self.state.foreground = app.activity
        return cold

    async def force_stop(self, package: str) -> None:
        """End an app, and say so."""
        if installed := self.state.packages.get(package):
            self.state.log.write(
                "I",
                "ActivityManager",
                f"Force stopping {package} appid={installed.uid} user=0: from pid {os.getpid()}",
                pid=SYSTEM_SERVER_PID,
                buffer="system",
            )
        if app := self.apps.get(package):
            await app.stop(by=os.getpid())
            if (self.state.foreground or "").startswith(f"{package}/"):
                self.state.foreground = None

    def processes(self) -> list[Process]:
        """Android's own processes, then those of the apps."""
        mib = 1 << 20
        own = [
            Process(1, "init", 0, "system", parent=0, rss=9 * mib),
            Process(LMKD_PID, "lmkd", 1069, "system", rss=4 * mib),
            Process(32_512, "surfaceflinger", SYSTEM_UID, "system", rss=60 * mib),
            Process(ZYGOTE_PID, "zygote64", 0, "system", rss=170 * mib),
            Process(
                SYSTEM_SERVER_PID,
                "system_server",
                SYSTEM_UID,
                "system",
                parent=ZYGOTE_PID,
                rss=420 * mib,
            ),
            Process(32_802, "adbd", SHELL_UID, "system", rss=8 * mib),
        ]
        return own + [item for app in self.apps.values() for item in app.processes()]

    @property
    def resumed(self) -> str:
        """`package/activity` at the front; the launcher where no app is."""
        return self.state.foreground or HOME
