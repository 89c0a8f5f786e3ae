"""What adb's words for a phone's state mean, and what to do about each.

Source: AOSP packages/modules/adb, adb.cpp (`to_string(ConnectionState)`) and
client/transport_usb.cpp (UsbNoPermissionsLongHelpText).
"""

from __future__ import annotations

from typing import Final

READY: Final = "device"

_STATES: Final = {
    "unauthorized": (
        "it does not trust this computer yet",
        (
            "unlock it and accept `Allow USB debugging?`; where no question appears, revoke the "
            "authorisations in its developer options and plug it in again"
        ),
    ),
    "authorizing": ("it is about to accept this computer", "wait a moment and run again"),
    "connecting": ("it is being connected", "wait a moment and run again"),
    "offline": (
        "it is known to adb but does not answer",
        "plug it in again; where that does not help, run `adb reconnect offline` or restart it",
    ),
    "no permissions": (
        "this user may not open its USB device",
        (
            "install the udev rules (`apt install android-sdk-platform-tools-common`), join the "
            "group plugdev, log in again and plug the phone in again"
        ),
    ),
    "bootloader": ("it is in its bootloader", "start Android: `fastboot reboot`"),
    "recovery": ("it is in recovery mode", "start Android: `adb reboot`"),
    "sideload": ("it waits for an update by sideload", "leave that on its screen, or restart it"),
    "rescue": ("it is in rescue mode", "restart it from its screen"),
    "host": ("it is a computer and no phone", "unplug it, or name a phone by its serial"),
    "detached": (
        "adb has let go of it for another program",
        "end that program, or run `adb attach`",
    ),
}


def normal(state: str) -> str:
    """Give adb's word for a state, without the advice that adb puts behind some."""
    return "no permissions" if state.startswith("no permissions") else state.strip()


def explained(state: str) -> tuple[str, str]:
    """What the state means, and the next step."""
    unknown = (f"adb calls its state {state[:40]!r}", "plug it in again, or restart it")
    return _STATES.get(state, unknown)
