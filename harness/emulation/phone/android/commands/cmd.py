"""`cmd`: a service's shell by the service's name (frameworks/native/cmds/cmd/cmd.cpp)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.registry import (
    UNKNOWN_SUBCOMMAND,
    Subcommands,
    count_unknown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

#: What `cmd` returns when there is no such service.
_NO_SERVICE: Final = 20
# Services whose shell is a command of its own.
_SAME: Final = {
    "activity": "am",
    "package": "pm",
    "settings": "settings",
    "window": "wm",
    "appops": "appops",
    "input_method": "ime",
    "input": "input",
    "device_config": "device_config",
}


def commands(phone: Phone, others: Mapping[str, Command]) -> dict[str, Command]:
    """`cmd`; `others` are the commands that are there already."""
    state = phone.state
    own: dict[str, Command] = {
        "thermalservice": Subcommands(state, "cmd thermalservice", _thermal(phone)),
        "battery": Subcommands(state, "cmd battery", battery(phone)),
        "gpu": Subcommands(state, "cmd gpu", _gpu(phone)),
        "power": Subcommands(state, "cmd power", _power(phone)),
        "wifi": Subcommands(state, "cmd wifi", _wifi(phone)),
        "statusbar": Subcommands(state, "cmd statusbar", {}),
    }
    state.services |= {*own, *_SAME}

    async def run(argv: Sequence[str], io: CommandIO) -> int:
        words = list(argv[1:])
        if words[:1] == ["-w"]:
            words.pop(0)
        if not words:
            await io.err("cmd: No service specified; use -l to list all running services\n")
            return _NO_SERVICE
        if words[0] == "-l":
            names = "".join(f"  {name}\n" for name in sorted(state.services))
            await io.out(f"Currently running services:\n{names}")
            return 0
        name = words[0]
        if name in _SAME:
            return await others[_SAME[name]]([_SAME[name], *words[1:]], io)
        if name in own:
            return await own[name](words, io)
        if name in state.services:
            count_unknown(state, ["cmd", *words])
            await io.err(f"cmd: Failure calling service {name}: Unknown transaction\n")
            return UNKNOWN_SUBCOMMAND
        count_unknown(state, ["cmd", *words])
        await io.err(f"cmd: Can't find service: {name}\n")
        return _NO_SERVICE

    return {"cmd": run}


def _thermal(phone: Phone) -> dict[str, Command]:
    thermal = phone.state.thermal

    async def override(argv: Sequence[str], io: CommandIO) -> int:
        if not re.fullmatch(r"[0-6]", " ".join(argv[1:])):
            await io.err("Error: Bad status\n")
            return UNKNOWN_SUBCOMMAND
        thermal.override = int(argv[1])
        return 0

    async def reset(argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        thermal.override = None
        return 0

    return {"override-status": override, "reset": reset}


def battery(phone: Phone) -> dict[str, Command]:
    """The shell of the battery service (BatteryService.java): also `dumpsys battery set ...`."""
    state = phone.state.battery

    async def set_(argv: Sequence[str], io: CommandIO) -> int:
        words = [word for word in argv[1:] if word != "-f"]
        match words:
            case ["level", value] if re.fullmatch(r"\d{1,3}", value):
                state.level = min(int(value), 100)
            case ["temp", value] if re.fullmatch(r"-?\d{1,4}", value):
                state.celsius = int(value) / 10
            case ["usb" | "ac" | "wireless", value] if value in {"0", "1"}:
                state.plugged = value == "1"
            case ["status", value] if value.isdecimal():
                state.plugged = value in {"2", "5"}
            case _:
                count_unknown(phone.state, ["cmd battery", *argv])
                await io.err(f"Unknown set option: {' '.join(words[:1])}\n")
                return UNKNOWN_SUBCOMMAND
        return 0

    async def unplug(argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        state.plugged = False
        return 0

    async def reset(argv: Sequence[str], io: CommandIO) -> int:
        del argv, io
        fresh = type(state)()
        state.level, state.celsius, state.plugged = fresh.level, fresh.celsius, fresh.plugged
        return 0

    async def get(argv: Sequence[str], io: CommandIO) -> int:
        known = {
            "level": str(state.level),
            "temp": str(round(state.celsius * 10)),
            "usb": str(int(state.plugged)),
            "ac": "0",
            "status": str(state.status),
        }
        name = " ".join(argv[1:])
        if name not in known:
            await io.err(f"Unknown get option: {name}\n")
            return UNKNOWN_SUBCOMMAND
        await io.out(f"{known[name]}\n")
        return 0

    return {"set": set_, "unplug": unplug, "reset": reset, "get": get}


def _gpu(phone: Phone) -> dict[str, Command]:
    async def vkjson(argv: Sequence[str], io: CommandIO) -> int:
        # Vulkan's figures of a phone cannot be made up: only a recorded dump has them.
        del argv
        await io.err(f"vkjson: nothing is recorded of the GPU of {phone.place.profile.id}\n")
        return 1

    return {"vkjson": vkjson, "vkprofiles": vkjson}


def _wifi(phone: Phone) -> dict[str, Command]:
    async def status(argv: Sequence[str], io: CommandIO) -> int:
        del argv
        on = phone.state.settings["global"].get("wifi_on", "0") == "1"
        # No network is ever joined: the phone has no other way out than adb.
        await io.out("Wifi is enabled\nWifi is not connected\n" if on else "Wifi is disabled\n")
        return 0

    return {"status": status}


def _power(phone: Phone) -> dict[str, Command]:
    async def mode(argv: Sequence[str], io: CommandIO) -> int:
        if argv[1:2] not in (["0"], ["1"]):
            await io.err("Error: Bad mode\n")
            return UNKNOWN_SUBCOMMAND
        phone.state.settings["global"]["low_power"] = argv[1]
        return 0

    return {"set-mode": mode}
