"""`wm`, `input`, `svc`, `screencap`: the screen and the keys.

Sources: WindowManagerShellCommand.java, InputShellCommand.java, Svc.java, screencap.cpp of AOSP.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.png import plain_png
from harness.emulation.phone.android.registry import (
    UNKNOWN_SUBCOMMAND,
    Subcommands,
    count_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_SIZE: Final = re.compile(r"(\d{2,5})x(\d{2,5})")
_WAKE: Final = frozenset({"224", "KEYCODE_WAKEUP", "WAKEUP"})
_SLEEP: Final = frozenset({"223", "KEYCODE_SLEEP", "SLEEP"})
_POWER: Final = frozenset({"26", "KEYCODE_POWER", "POWER"})
_HOME: Final = frozenset({"3", "KEYCODE_HOME", "HOME"})
_MENU: Final = frozenset({"82", "KEYCODE_MENU", "MENU"})
#: Settings that `svc power stayon` writes (`BatteryManager.BATTERY_PLUGGED_*`).
_STAY_ON: Final = {"true": "15", "false": "0", "usb": "2", "ac": "1", "wireless": "4", "dock": "8"}


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    return {
        "wm": Subcommands(phone.state, "wm", WindowManager(phone).commands()),
        "input": _input(phone),
        "svc": Subcommands(phone.state, "svc", _svc(phone)),
        "screencap": _screencap(phone),
    }


def _changed(phone: Phone) -> None:
    for app in phone.apps.values():
        app.screen_changed()


class WindowManager:
    """The shell of the window manager."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._screen = phone.state.screen

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {
            "size": self._size,
            "density": self._density,
            "dismiss-keyguard": self._dismiss,
            "user-rotation": self._rotation,
        }

    async def _size(self, argv: Sequence[str], io: CommandIO) -> int:
        if len(argv) == 1:
            await io.out(f"Physical size: {self._screen.width}x{self._screen.height}\n")
            if self._screen.size_override:
                await io.out("Override size: {}x{}\n".format(*self._screen.size_override))
            return 0
        found = _SIZE.fullmatch(argv[1])
        if argv[1] != "reset" and not found:
            await io.err(f"Error: bad size {argv[1]}\n")
            return UNKNOWN_SUBCOMMAND
        self._screen.size_override = (int(found[1]), int(found[2])) if found else None
        _changed(self._phone)
        return 0

    async def _density(self, argv: Sequence[str], io: CommandIO) -> int:
        if len(argv) == 1:
            await io.out(f"Physical density: {self._screen.density}\n")
            if self._screen.density_override:
                await io.out(f"Override density: {self._screen.density_override}\n")
            return 0
        if argv[1] != "reset" and not re.fullmatch(r"[1-9]\d{1,3}", argv[1]):
            await io.err(f"Error: bad number {argv[1]}\n")
            return UNKNOWN_SUBCOMMAND
        self._screen.density_override = None if argv[1] == "reset" else int(argv[1])
        _changed(self._phone)
        return 0

    async def _dismiss(self, _: Sequence[str], io: CommandIO) -> int:
        del io
        self._screen.locked = False
        return 0

    async def _rotation(self, argv: Sequence[str], io: CommandIO) -> int:
        if len(argv) > 2 and argv[1] == "lock" and argv[2] in {"0", "1", "2", "3"}:  # noqa: PLR2004
            self._screen.rotation = int(argv[2])
        elif len(argv) == 1:
            await io.out("free\n")
        return 0


def _input(phone: Phone) -> Command:
    screen = phone.state.screen

    async def run(argv: Sequence[str], io: CommandIO) -> int:
        words = list(argv[1:])
        if words and words[0] in {"keyboard", "touchscreen", "mouse", "dpad", "stylus", "touchpad"}:
            words.pop(0)
        if words[:1] == ["-d"]:
            words = words[2:]
        match words:
            case ["keyevent", *keys] if keys:
                for key in keys:
                    _press(phone, key)
            case ["tap", x, y] if _numbers(x, y):
                pass
            case ["swipe", *points] if len(points) in {4, 5} and _numbers(*points):
                # A swipe up over most of the screen unlocks it, where nothing secures it.
                if screen.on and float(points[1]) - float(points[3]) > screen.height / 4:
                    screen.locked = False
            case ["text", _]:
                pass
            case _:
                count_unknown(phone.state, argv)
                await io.err(f"Error: Unknown command: {' '.join(words[:1])}\n")
                return UNKNOWN_SUBCOMMAND
        return 0

    return run


def _numbers(*words: str) -> bool:
    return all(re.fullmatch(r"-?\d{1,6}(\.\d{1,6})?", word) for word in words)


def _press(phone: Phone, key: str) -> None:
    screen = phone.state.screen
    if key in _WAKE:
        screen.on = True
    elif key in _SLEEP:
        screen.on = False
    elif key in _POWER:
        screen.on = not screen.on
    elif key in _HOME:
        phone.state.foreground = None
    elif key in _MENU:
        screen.locked = False


def _svc(phone: Phone) -> dict[str, Command]:
    state = phone.state

    async def power(argv: Sequence[str], io: CommandIO) -> int:
        match list(argv[1:]):
            case ["stayon", how] if how in _STAY_ON:
                state.settings["global"]["stay_on_while_plugged_in"] = _STAY_ON[how]
                if how != "false":
                    state.screen.on = True
            case ["reboot" | "shutdown", *_]:
                count_unknown(state, ["svc", *argv])
                await io.err("svc: reboot it through adb, or the phone's control\n")
                return 1
            case _:
                count_unknown(state, ["svc", *argv])
                await io.err(
                    "Control the power manager\n\nusage: svc power stayon "
                    "[true|false|usb|ac|wireless|dock]\n"
                )
                return 1
        return 0

    def radio(setting: str) -> Command:
        async def run(argv: Sequence[str], io: CommandIO) -> int:
            if argv[1:] not in (["enable"], ["disable"]):
                count_unknown(state, ["svc", *argv])
                await io.err(f"usage: svc {argv[0]} [enable|disable]\n")
                return 1
            state.settings["global"][setting] = "1" if argv[1] == "enable" else "0"
            return 0

        return run

    return {
        "power": power,
        "wifi": radio("wifi_on"),
        "data": radio("mobile_data"),
        "bluetooth": radio("bluetooth_on"),
        "nfc": radio("nfc_on"),
    }


def _screencap(phone: Phone) -> Command:
    async def run(argv: Sequence[str], io: CommandIO) -> int:
        words = [word for word in argv[1:] if word != "-p"]
        as_png = "-p" in argv or any(word.endswith(".png") for word in words)
        if words[:1] == ["-d"]:
            words = words[2:]
        if not as_png or any(word.startswith("-") for word in words):
            count_unknown(phone.state, argv)
            await io.err("usage: screencap [-p] [FILENAME] (a virtual phone writes PNG only)\n")
            return 1
        picture = await screenshot(phone)
        if not words:
            await io.out(picture)
            return 0
        try:
            phone.place.path(words[0]).write_bytes(picture)
        except OSError as error:
            await io.err(f"Error opening file: {words[0]} ({error.strerror})\n")
            return 1
        return 0

    return run


async def screenshot(phone: Phone) -> bytes:
    """What is at the front, as a PNG; the launcher and a dark screen are of one colour."""
    width, height = phone.state.screen.size
    if not phone.state.screen.on:
        return plain_png(width, height, (0, 0, 0))
    app = phone.apps.get(phone.resumed.partition("/")[0])
    picture = await app.screenshot() if app else None
    return picture or plain_png(width, height, (32, 36, 48))
