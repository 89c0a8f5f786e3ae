"""The commands by name, and what was asked for and is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from harness.emulation.phone.android.state import State
    from harness.emulation.phone.command import CommandIO

    Subcommand = Callable[[Sequence[str], CommandIO], Awaitable[int]]

#: What Android's `ShellCommand` returns for an unknown subcommand: -1.
UNKNOWN_SUBCOMMAND: Final = 255
#: What a shell returns for an unknown command.
UNKNOWN_COMMAND: Final = 127
_KEY_WORDS: Final = 3
_KEY_CHARACTERS: Final = 120
_KEYS: Final = 500

GARBAGE: Final = (
    "\x00\ufffd{{{ Temperature{mValue=NaN, level: -2147483649\n  TOTAL PSS: 99999999999999999999\n"
    "timestamp= pid=abc reason=(\n"
) * 8


def count_unknown(state: State, words: Sequence[str]) -> None:
    """Remember that this was asked for; told at the end by `control("unknown_commands")`."""
    key = " ".join(words[:_KEY_WORDS])[:_KEY_CHARACTERS]
    if key in state.unknown or len(state.unknown) < _KEYS:
        state.unknown[key] += 1
    state.on_unknown(key)


class Subcommands:
    """A command whose first word says what is done, in the manner of Android's `ShellCommand`."""

    def __init__(
        self, state: State, name: str, table: Mapping[str, Subcommand], *, usage: str = ""
    ) -> None:
        self._state = state
        self._name = name
        self._table = dict(table)
        self._usage = usage or f"{name}: use one of {', '.join(sorted(table))}\n"

    async def __call__(self, argv: Sequence[str], io: CommandIO) -> int:
        """Run the subcommand; an unknown one is counted and fails as Android's does."""
        words = argv[1:]
        if not words or words[0] in {"help", "-h", "--help"}:
            await io.out(self._usage)
            return 0 if words else UNKNOWN_SUBCOMMAND
        found = self._table.get(words[0])
        if found is None:
            return await self.unknown(words, io)
        return await found(words, io)

    async def unknown(self, words: Sequence[str], io: CommandIO) -> int:
        """The answer to what is not known."""
        count_unknown(self._state, [self._name, *words])
        await io.err(f"Unknown command: {words[0]}\n")
        return UNKNOWN_SUBCOMMAND
