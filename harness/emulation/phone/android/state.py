"""What the virtual phone is at this moment: one typed model, from which every answer is made."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.logcat import Logcat

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

#: Exits that `dumpsys activity exit-info` keeps a package (`APP_EXIT_INFO_HISTORY_LIST_SIZE`).
KEPT_EXITS: Final = 16
FIRST_APP_UID: Final = 10_000
FIRST_ISOLATED_UID: Final = 99_000
SYSTEM_UID: Final = 1000
SHELL_UID: Final = 2000


def _nobody(_: str) -> None:
    """Nobody else counts what is unknown."""


class Reason(IntEnum):
    """Why a process ended (`android.app.ApplicationExitInfo`)."""

    EXIT_SELF = 1
    SIGNALED = 2
    LOW_MEMORY = 3
    CRASH_NATIVE = 5
    USER_REQUESTED = 10
    OTHER = 13

    @property
    def label(self) -> str:
        """The word that the dump prints (`ApplicationExitInfo.reasonCodeToString`)."""
        if self is Reason.CRASH_NATIVE:
            return "APP CRASH(NATIVE)"
        if self is Reason.OTHER:
            return "OTHER KILLS BY SYSTEM"
        return self.name.replace("_", " ") if self is Reason.USER_REQUESTED else self.name


#: Subreasons that are used here (`ApplicationExitInfo.subreasonToString`).
SUBREASONS: Final[Mapping[int, str]] = {
    0: "UNKNOWN",
    17: "ISOLATED NOT NEEDED",
    21: "FORCE STOP",
}
ISOLATED_NOT_NEEDED: Final = 17
FORCE_STOP: Final = 21


@dataclass(frozen=True, slots=True)
class Exit:
    """One process that ended. `status` is the exit code or the signal; memory in bytes."""

    at: float
    pid: int
    package: str
    process: str
    uid: int
    reason: Reason
    subreason: int = 0
    status: int = 0
    importance: int = 100
    pss: int = 0
    rss: int = 0
    description: str | None = None
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """One living process as Android names it; memory in bytes.

    `kind` is `browser`, `renderer`, `gpu`, `utility`, `zygote`, `app` or `system`.
    """

    pid: int
    name: str
    uid: int
    kind: str
    package: str | None = None
    parent: int = 1
    virtual: int = 0
    rss: int = 0
    pss: int = 0


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package."""

    name: str
    uid: int
    version: str = "1.0"
    version_code: int = 1
    activity: str | None = None
    system: bool = False
    instrumentation: str | None = None
    target: str | None = None
    path: str = ""
    permissions: tuple[str, ...] = ()

    @property
    def component(self) -> str | None:
        """`package/activity` of its main activity."""
        return f"{self.name}/{self.activity}" if self.activity else None

    @property
    def user(self) -> str:
        """The name of its user, such as `u0_a152`."""
        if self.uid < FIRST_APP_UID:
            return {SYSTEM_UID: "system", SHELL_UID: "shell"}.get(self.uid, str(self.uid))
        return f"u0_a{self.uid - FIRST_APP_UID}"


@dataclass(slots=True)
class Battery:
    """`plugged` is by USB, the only cable that a virtual phone has."""

    level: int = 87
    celsius: float = 29.1
    plugged: bool = True
    voltage_mv: int = 4251

    @property
    def status(self) -> int:
        """`BatteryManager`'s number: 2 charging, 3 discharging, 5 full."""
        if not self.plugged:
            return 3
        return 5 if self.level >= 100 else 2  # noqa: PLR2004 - percent


@dataclass(slots=True)
class Thermal:
    """Android's thermal status (0 none to 6 shutdown) and the skin's temperature."""

    status: int = 0
    celsius: float = 31.2
    override: int | None = None

    @property
    def shown(self) -> int:
        """What the service says."""
        return self.status if self.override is None else self.override


@dataclass(slots=True)
class Storage:
    """Bytes of `/data`; `folder` is where it really is, whose disk may have less."""

    total: int = 128 * 10**9
    free: int = 60 * 10**9
    folder: Path | None = None

    @property
    def available(self) -> int:
        """What apps can still store."""
        if self.folder is None:
            return self.free
        try:
            disk = os.statvfs(self.folder)
        except OSError:
            return self.free
        return min(self.free, disk.f_bavail * disk.f_frsize)


@dataclass(slots=True)
class Screen:
    """The screen in pixels; `width_override` and so on are those of `wm`."""

    width: int = 1080
    height: int = 2400
    density: int = 420
    on: bool = True
    locked: bool = False
    size_override: tuple[int, int] | None = None
    density_override: int | None = None
    rotation: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Pixels across and down, as apps see them."""
        return self.size_override or (self.width, self.height)

    @property
    def dots(self) -> int:
        """Dots an inch, as apps see them."""
        return self.density_override or self.density

    @property
    def scale(self) -> float:
        """Pixels a CSS pixel."""
        return self.dots / 160


@dataclass(slots=True)
class State:
    """Everything that a command can ask for or change."""

    properties: dict[str, str]
    cores: int
    memory_total: int
    app_memory: int
    packages: dict[str, Package] = field(default_factory=dict)
    settings: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"global": {}, "secure": {}, "system": {}}
    )
    battery: Battery = field(default_factory=Battery)
    thermal: Thermal = field(default_factory=Thermal)
    storage: Storage = field(default_factory=Storage)
    screen: Screen = field(default_factory=Screen)
    log: Logcat = field(default_factory=Logcat)
    exits: dict[str, deque[Exit]] = field(default_factory=dict)
    foreground: str | None = None
    gpu: str = "unknown"
    garbage: set[str] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)
    on_unknown: Callable[[str], None] = field(default=_nobody)
    services: set[str] = field(default_factory=set)
    permissions: dict[str, set[str]] = field(default_factory=dict)
    doze: bool = True
    awake: set[str] = field(default_factory=set)
    booted: float = field(default_factory=time.time)

    @property
    def release(self) -> int:
        """The major number of the Android release."""
        return int(self.properties.get("ro.build.version.release", "14").split(".")[0])

    @property
    def api(self) -> int:
        """The API level."""
        return int(self.properties.get("ro.build.version.sdk", "34"))

    def add_exit(self, item: Exit) -> None:
        """Keep an exit; the oldest of its package goes when there are too many."""
        self.exits.setdefault(item.package, deque(maxlen=KEPT_EXITS)).appendleft(item)

    def next_uid(self) -> int:
        """A user for a package to be installed."""
        return max([FIRST_APP_UID + 199, *(package.uid for package in self.packages.values())]) + 1
