"""What the machine that tierlab runs on is, and whether it is at rest."""

from __future__ import annotations

import asyncio
import math
import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

# A host is at rest when two windows in a row are this quiet. An idle Chromium and the harness's own
# polls take about 3 % of two processors; a tenth lets no second load pass.
QUIET_PERCENT: Final = 10.0
QUIET_WINDOWS: Final = 2
REST_WINDOW_SECONDS: Final = 0.25

REST_VARIABLE: Final = "TIERLAB_REST_SECONDS"
"""The environment variable with how long to wait until a device is at rest, at most."""
REST_SECONDS: Final = 10.0


def rest_seconds() -> float:
    """How long to wait until a device is at rest, at most; then it is measured as it is.

    Raises:
        UserError: the variable holds no such time.
    """
    text = os.environ.get(REST_VARIABLE) or f"{REST_SECONDS}"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(
            f"{REST_VARIABLE}={text!r} is no number of seconds",
            f"give 0 or more, or leave it out for {REST_SECONDS:g}",
        )
    return seconds


async def quiet(
    busy_percent: Callable[[], float],
    *,
    window: float = REST_WINDOW_SECONDS,
    within: float,
) -> bool:
    """Whether, within `within` seconds, two windows in a row were quiet.

    `busy_percent` gives the busy share of all processors since its last call.
    """
    busy_percent()
    quiet_windows = 0
    for _ in range(max(1, round(within / window))):
        await asyncio.sleep(window)
        quiet_windows = quiet_windows + 1 if busy_percent() <= QUIET_PERCENT else 0
        if quiet_windows == QUIET_WINDOWS:
            return True
    return False


def operating_system() -> str:
    """The name and version of the operating system."""
    if shutil.which("sw_vers"):
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}"
    except (OSError, KeyError):
        return platform.platform()


def cpu_name() -> str:
    """The name of the processor, as the system gives it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def temperature_celsius() -> float | None:
    """The hottest sensor of the host, where it has one."""
    read = getattr(psutil, "sensors_temperatures", None)
    readings = [t.current for group in (read() if read else {}).values() for t in group]
    return max(readings, default=None)
