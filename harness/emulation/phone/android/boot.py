"""What a phone says as it boots."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.emulation.phone.android.deaths import SYSTEM_SERVER_PID

if TYPE_CHECKING:
    from harness.emulation.phone.android.state import State


def say_booted(state: State) -> None:
    """The lines of a boot that ended just now, and its moment."""
    state.booted = time.time()
    fingerprint = state.properties.get("ro.build.fingerprint", "unknown")
    log = state.log
    log.write("I", "boot_progress_start", "1000", pid=1, uid=0, buffer="events")
    log.write(
        "I",
        "SystemServer",
        f"Entered the Android system server! {fingerprint}",
        pid=SYSTEM_SERVER_PID,
    )
    log.write("I", "ActivityManager", "System now ready", pid=SYSTEM_SERVER_PID, buffer="system")
    log.write("I", "boot_progress_enable_screen", "2000", pid=SYSTEM_SERVER_PID, buffer="events")
    log.write("I", "tierlab", "This phone is virtual: its figures are not those of a real one")
