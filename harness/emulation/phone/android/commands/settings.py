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
    return Settings(phone).commands()


class Settings:
    """The tables and their shell."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._tables = phone.state.settings

    def commands(self) -> dict[str, Command]:
        """By name."""
        table = {"get": self._get, "put": self._put, "delete": self._delete, "list": self._list}
        return {"settings": Subcommands(self._phone.state, "settings", table)}

    async def _parsed(self, argv: Sequence[str], io: CommandIO, count: int) -> list[str] | None:
        """The words after the options, `count` of them at least; a namespace first."""
        words = list(argv[1:])
        if "--user" in words:
            at = words.index("--user")
            del words[at : at + 2]
        words = [word for word in words if word not in {"--verbose", "-v"}]
        if words and words[0] not in self._tables:
            await io.err(f"Invalid namespace '{words[0]}'\n")
            return None
        if len(words) < count:
            await io.err("Bad arguments\n")
            return None
        return words

    async def _get(self, argv: Sequence[str], io: CommandIO) -> int:
        words = await self._parsed(argv, io, 2)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        await io.out(self._tables[words[0]].get(words[1], "null") + "\n")
        return 0

    async def _put(self, argv: Sequence[str], io: CommandIO) -> int:
        words = await self._parsed(argv, io, 3)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        self._tables[words[0]][words[1]] = words[2]
        return 0

    async def _delete(self, argv: Sequence[str], io: CommandIO) -> int:
        words = await self._parsed(argv, io, 2)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        there = self._tables[words[0]].pop(words[1], None) is not None
        await io.out(f"Deleted {int(there)} rows\n")
        return 0

    async def _list(self, argv: Sequence[str], io: CommandIO) -> int:
        words = await self._parsed(argv, io, 1)
        if words is None:
            return UNKNOWN_SUBCOMMAND
        rows = sorted(self._tables[words[0]].items())
        await io.out("".join(f"{name}={value}\n" for name, value in rows))
        return 0
