"""`settings` (frameworks/base/packages/SettingsProvider, SettingsService.java)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.emulation.phone.android.registry import UNKNOWN_SUBCOMMAND, Subcommands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    tables = phone.state.settings

    async def parsed(argv: Sequence[str], io: CommandIO, count: int) -> list[str] | None:
        """The words after the options, `count` of them at least; a namespace first."""
        words = list(argv[1:])
        if "--user" in words:
            at = words.index("--user")
            del words[at : at + 2]
        words = [word for word in words if word not in {"--verbose", "-v"}]
        if words and words[0] not in tables:
            await io.err(f"Invalid namespace '{words[0]}'\n")
            return None
        if len(words) < count:
            await io.err("Bad arguments\n")
            return None
        return words

    async def get(argv: Sequence[str], io: CommandIO) -> int:
        words = await parsed(argv, io, 2)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        await io.out(tables[words[0]].get(words[1], "null") + "\n")
        return 0

    async def put(argv: Sequence[str], io: CommandIO) -> int:
        words = await parsed(argv, io, 3)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        tables[words[0]][words[1]] = words[2]
        return 0

    async def delete(argv: Sequence[str], io: CommandIO) -> int:
        words = await parsed(argv, io, 2)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        there = tables[words[0]].pop(words[1], None) is not None
        await io.out(f"Deleted {int(there)} rows\n")
        return 0

    async def list_(argv: Sequence[str], io: CommandIO) -> int:
        words = await parsed(argv, io, 1)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        rows = sorted(tables[words[0]].items())
        await io.out("".join(f"{name}={value}\n" for name, value in rows))
        return 0

    table = {"get": get, "put": put, "delete": delete, "list": list_}
    return {"settings": Subcommands(phone.state, "settings", table)}
