"""How many fast cores a phone has: the number of threads that most engines are best with.

Slow cores that take part hold the others back, since each step waits for the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.devices.android.adb import Phone

# Highest frequencies in kHz (kernel: Documentation/admin-guide/pm/cpufreq.rst), one line a core.
_FREQUENCIES: Final = "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq 2>/dev/null"
_MOST_CORES: Final = 1024


async def fast_cores(phone: Phone) -> int:
    """The cores that are not of the slowest cluster; half of them, where they do not tell.

    Raises:
        TransportLostError: the phone is gone.
    """
    said = await phone.run(f"{_FREQUENCIES}; echo cores; nproc", check=False)
    return count_fast(said.text)


def count_fast(text: str) -> int:
    """The number of fast cores in what the phone said; at least 1. Never raises."""
    head, _, tail = text.partition("cores\n")
    speeds = [int(line) for line in head.split() if line.isdecimal() and len(line) < 12]  # noqa: PLR2004
    cores = tail.strip()
    number = int(cores) if cores.isdecimal() and len(cores) < 5 else 1  # noqa: PLR2004
    fast = sum(speed > min(speeds) for speed in speeds) if speeds else number // 2
    return max(1, min(fast or len(speeds), _MOST_CORES))
