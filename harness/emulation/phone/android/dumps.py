"""Recorded answers of a real phone, filled with what this one's state decides.

The format is `harness.emulation.capture.dumps`; here are the values of its placeholders.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.emulation.capture.dumps import read_dumps
from harness.emulation.phone.hardware import meminfo
from harness.profiles import PROFILES_DIRECTORY

if TYPE_CHECKING:
    from harness.emulation.capture.dumps import Dump
    from harness.emulation.phone.android.state import State
    from harness.profiles import Profile


#: Another folder of recorded answers than the one beside the profiles.
DUMPS_OVERRIDE: Final = "TIERLAB_DUMPS"


def folder_of(profile_id: str) -> Path:
    """Where the recorded answers of a profile are, if there are any."""
    override = os.environ.get(DUMPS_OVERRIDE)
    return (Path(override) if override else PROFILES_DIRECTORY / "dumps") / profile_id


def recorded(profile_id: str) -> dict[str, Dump]:
    """The answers to be given again, by command line.

    Raises:
        UserError: the folder is there and not right.
    """
    found = read_dumps(folder_of(profile_id))
    return {" ".join(line.split()): dump for line, dump in found.items() if dump.replay}


def memory_kilobytes(profile: Profile, used: int, limit: int | None = None) -> dict[str, int]:
    """The rows of the phone's `/proc/meminfo`, in kB; `used` is the bytes that apps use."""
    rows = (line.split() for line in meminfo(profile, used, limit).splitlines())
    return {name.rstrip(":"): int(size) for name, size, _ in rows}


def values(profile: Profile, state: State, used: int) -> dict[str, str]:
    """What stands for each placeholder; `used` is the bytes that apps use."""
    battery, memory = state.battery, memory_kilobytes(profile, used, state.app_memory)
    total, free = state.storage.total >> 10, state.storage.available >> 10
    return {
        "battery.level": str(battery.level),
        "battery.temperature": str(round(battery.celsius * 10)),
        "battery.status": str(battery.status),
        "battery.ac": "false",
        "battery.usb": str(battery.plugged).lower(),
        "battery.wireless": "false",
        "thermal.status": str(state.thermal.shown),
        "thermal.skin": f"{state.thermal.celsius:.1f}",
        "memory.total": str(memory["MemTotal"]),
        "memory.free": str(memory["MemFree"]),
        "memory.available": str(memory["MemAvailable"]),
        "memory.swap_total": str(memory["SwapTotal"]),
        "memory.swap_free": str(memory["SwapFree"]),
        "storage.size": str(total),
        "storage.used": str(total - free),
        "storage.free": str(free),
        "storage.percent": str(round(100 * (total - free) / total)) if total else "0",
    }
