"""The control actions of the Android: faults on demand, and what is told of the phone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from harness.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from pydantic import JsonValue

    from harness.emulation.phone.android.phone import Phone

    Arguments = Mapping[str, JsonValue]

_KINDS: Final = ("browser", "renderer", "gpu", "app")
_LEAST_MEMORY: Final = 64 << 20


class Controls:
    """The actions by name.

    Args:
        phone: what they act on.
    """

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._actions: dict[str, Callable[[Arguments], Awaitable[JsonValue]]] = {
            "battery": self._battery,
            "garbage": self._garbage,
            "kill": self._kill,
            "memory_limit": self._memory_limit,
            "screen": self._screen,
            "state": self._state,
            "storage": self._storage,
            "thermal": self._thermal,
            "unknown_commands": self._unknown,
        }

    async def do(self, action: str, arguments: Arguments) -> JsonValue:
        """Do one.

        Raises:
            UserError: there is no such action, or its arguments are not right.
        """
        found = self._actions.get(action)
        if found is None:
            raise unknown("action of a virtual phone", action, self._actions)
        return await found(arguments)

    async def _thermal(self, arguments: Arguments) -> JsonValue:
        thermal = self._phone.state.thermal
        thermal.status = _whole(arguments, "status", thermal.status, 0, 6)
        thermal.celsius = _number(arguments, "celsius", thermal.celsius, -40, 150)
        return None

    async def _battery(self, arguments: Arguments) -> JsonValue:
        battery = self._phone.state.battery
        battery.level = _whole(arguments, "level", battery.level, 0, 100)
        battery.celsius = _number(arguments, "celsius", battery.celsius, -40, 120)
        battery.plugged = _truth(arguments, "plugged", default=battery.plugged)
        return None

    async def _storage(self, arguments: Arguments) -> JsonValue:
        storage = self._phone.state.storage
        storage.free = _whole(arguments, "free_bytes", storage.free, 0, storage.total)
        for app in self._phone.apps.values():
            app.screen_changed()
        return None

    async def _memory_limit(self, arguments: Arguments) -> JsonValue:
        size = _whole(arguments, "bytes", None, _LEAST_MEMORY, 1 << 44)
        self._phone.group.resize(size)
        self._phone.state.app_memory = size
        return None

    async def _screen(self, arguments: Arguments) -> JsonValue:
        screen = self._phone.state.screen
        screen.on = _truth(arguments, "on", default=screen.on)
        screen.locked = _truth(arguments, "locked", default=screen.locked)
        return None

    async def _garbage(self, arguments: Arguments) -> JsonValue:
        dump = arguments.get("dump")
        if dump is None:
            self._phone.state.garbage.clear()
            return None
        if not isinstance(dump, str) or not dump.strip():
            raise UserError("garbage: dump is a command line", "such as `dumpsys battery`")
        self._phone.state.garbage.add(" ".join(dump.split()))
        return None

    async def _kill(self, arguments: Arguments) -> JsonValue:
        kind = arguments.get("process", "renderer")
        if kind not in _KINDS:
            raise unknown("process to kill", str(kind), _KINDS)
        number = _whole(arguments, "signal", int(signal.SIGKILL), 1, signal.NSIG - 1)
        for app in self._phone.apps.values():
            pid = app.signal(str(kind), number)
            if pid is not None:
                return pid
        raise UserError(f"kill: no {kind} process runs on this phone", "start Chrome first")

    async def _unknown(self, _: Arguments) -> JsonValue:
        return dict(self._phone.state.unknown)

    async def _state(self, _: Arguments) -> JsonValue:
        state = self._phone.state
        return {
            "foreground": state.foreground,
            "memory_limit": self._phone.group.limit,
            "memory_limited": self._phone.group.limited,
            "memory_used": self._phone.group.used(),
            "processes": [
                {"pid": item.pid, "name": item.name, "kind": item.kind, "rss": item.rss}
                for app in self._phone.apps.values()
                for item in app.processes()
            ],
        }


def _whole(arguments: Arguments, name: str, default: int | None, least: int, most: int) -> int:
    value = arguments.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise UserError(f"{name}: {value!r} is not a whole number from {least} to {most}")
    return value


def _number(arguments: Arguments, name: str, default: float, least: float, most: float) -> float:
    value = arguments.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise UserError(f"{name}: {value!r} is not a number from {least} to {most}")
    return float(value)


def _truth(arguments: Arguments, name: str, *, default: bool) -> bool:
    value = arguments.get(name, default)
    if not isinstance(value, bool):
        raise UserError(f"{name}: {value!r} is neither true nor false")
    return value
