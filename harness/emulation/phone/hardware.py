"""What the phone's kernel says of its hardware: `/proc/meminfo` and `/proc/cpuinfo`.

Formats: Linux `fs/proc/meminfo.c` and `arch/arm64/kernel/cpuinfo.c`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.profiles import Profile

#: Of the memory as sold, what the kernel counts; firmware and GPU carveouts take the rest.
_TOTAL_SHARE: Final = 0.925
_UNKNOWN_MEMORY: Final = 8 << 30
_UNKNOWN_CORES: Final = 8
#: Cortex-A76 as every core: a part number is needed, and profiles do not say which cores there are.
_PART: Final = 0xD0B


def cores(profile: Profile) -> int:
    """How many cores the phone shows: as its profile says, and not more than this host has.

    Engines start a thread for each, and their barriers spin: eight threads on two cores do not
    bring out in minutes the token that two bring out in a second.
    """
    return min(profile.hardware.cores or _UNKNOWN_CORES, os.cpu_count() or 1)


def total_bytes(profile: Profile) -> int:
    """What the phone's kernel calls its memory."""
    return int((profile.hardware.memory or _UNKNOWN_MEMORY) * _TOTAL_SHARE)


def available_bytes(profile: Profile, used: int, limit: int | None = None) -> int:
    """What an app may still take, when the browser holds `used` bytes.

    `limit` is what one app may take, by default what the profile says.
    """
    if limit is not None:
        available = limit
    elif profile.app_memory:
        available = profile.app_memory.available
    else:
        available = total_bytes(profile) // 2
    return max(0, min(available, total_bytes(profile)) - used)


def meminfo(profile: Profile, used: int, limit: int | None = None) -> str:
    """`/proc/meminfo`, always of the same length.

    Only MemTotal and MemAvailable are from the profile and from the browser's memory group; the
    other rows are shares of them, as a phone in everyday use shows them.
    """
    total = total_bytes(profile)
    available = available_bytes(profile, used, limit)
    rows = {
        "MemTotal": total,
        "MemFree": available // 4,
        "MemAvailable": available,
        "Buffers": total // 2000,
        "Cached": total // 4,
        "SwapCached": 0,
        "Active": total // 4,
        "Inactive": total // 4,
        "SwapTotal": total // 2,
        "SwapFree": total // 3,
        "Dirty": 0,
        "AnonPages": total // 4,
        "Mapped": total // 10,
        "Shmem": total // 200,
        "Slab": total // 25,
        "CmaTotal": 0,
        "CmaFree": 0,
    }
    return "".join(f"{name + ':':<16}{size >> 10:>10} kB\n" for name, size in rows.items())


def cpuinfo(profile: Profile) -> str:
    """`/proc/cpuinfo` of an arm64 kernel."""
    one = (
        "processor\t: {number}\n"
        "BogoMIPS\t: 49.15\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid"
        " asimdrdm lrcpc dcpop asimddp\n"
        "CPU implementer\t: 0x41\n"
        "CPU architecture: 8\n"
        "CPU variant\t: 0x1\n"
        f"CPU part\t: {_PART:#x}\n"
        "CPU revision\t: 0\n\n"
    )
    hardware = profile.hardware.soc or profile.name
    every = "".join(one.format(number=number) for number in range(cores(profile)))
    return f"{every}Hardware\t: {hardware}\n"
