"""`getprop`, `setprop` (toolbox of AOSP; system/core/init/property_service.cpp for the rules)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_VALUE_BYTES: Final = 92
_NAME: Final = re.compile(r"[A-Za-z0-9_.:@-]+")


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    properties = phone.state.properties

    async def getprop(argv: Sequence[str], io: CommandIO) -> int:
        words = argv[1:]
        if words and words[0].startswith("-"):
            await io.err(f"getprop: Unknown option '{words[0]}'\n")
            return 1
        if not words:
            rows = (f"[{name}]: [{value}]\n" for name, value in sorted(properties.items()))
            await io.out("".join(rows))
            return 0
        default = words[1] if len(words) > 1 else ""
        await io.out(f"{properties.get(words[0], default)}\n")
        return 0

    async def setprop(argv: Sequence[str], io: CommandIO) -> int:
        if len(argv) != 3:  # noqa: PLR2004 - setprop NAME VALUE
            await io.err("usage: setprop NAME VALUE\n")
            return 1
        _, name, value = argv
        if not _NAME.fullmatch(name) or (name.startswith("ro.") and name in properties):
            await io.err(f"Failed to set property '{name}' to '{value}'.\n")
            return 1
        if len(value.encode()) >= _VALUE_BYTES and not name.startswith("ro."):
            await io.err(f"Value '{value}' is too long for property '{name}'.\n")
            return 1
        properties[name] = value
        return 0

    return {"getprop": getprop, "setprop": setprop}
