"""`logcat` and `log` (system/logging/logcat/logcat.cpp of AOSP)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from harness.emulation.phone.android.logcat import ENTRY_BYTES, format_entry
from harness.emulation.phone.android.logcat_options import OptionError, Options, parse
from harness.emulation.phone.android.registry import count_unknown
from harness.emulation.phone.android.state import SHELL_UID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    return Log(phone).commands()


class Log:
    """The log's commands."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone
        self._log = phone.state.log

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {"logcat": self._logcat, "log": self._write}

    async def _logcat(self, argv: Sequence[str], io: CommandIO) -> int:
        try:
            options = parse(argv[1:])
        except OptionError as error:
            count_unknown(self._phone.state, argv)
            await io.err(str(error))
            return 1
        if options.clear:
            self._log.clear(options.buffers)
        if options.size is not None:
            self._log.limits.update(dict.fromkeys(options.buffers, options.size))
        if options.sizes:
            await io.out(
                "".join(
                    _size_line(name, self._log.limits[name], self._log.used(name))
                    for name in options.buffers
                )
            )
        if options.clear or options.sizes or options.size is not None or options.last:
            return 0
        return await self._print(options, io)

    async def _print(self, options: Options, io: CommandIO) -> int:
        seen: set[str] = set()
        left = options.most
        last = self._log.last
        entries = self._log.entries(options.buffers)
        if isinstance(options.tail, int):
            entries = entries[-options.tail :] if options.tail else []
        elif options.tail is not None:
            moment = options.tail
            entries = [entry for entry in entries if entry.at >= moment]
        while True:
            text = ""
            for entry in entries:
                if not options.shows(entry):
                    continue
                if entry.buffer not in seen:
                    text += f"--------- beginning of {entry.buffer}\n"
                    seen.add(entry.buffer)
                text += format_entry(entry, options.style, options.modifiers)
                left = None if left is None else left - 1
                if left == 0:
                    break
            if text:
                await io.out(text)
            if options.dump or left == 0:
                return 0
            await self._log.changed(last)
            entries, last = self._log.entries(options.buffers, after=last), self._log.last

    async def _write(self, argv: Sequence[str], io: CommandIO) -> int:
        tag, priority, words = "log", "I", list(argv[1:])
        while words and words[0].startswith("-"):
            option = words.pop(0)
            if option == "--":
                break
            if option not in {"-t", "-p"} or not words:
                await io.err(f"log: Unknown option '{option}'\n")
                return 1
            value = words.pop(0)
            if option == "-t":
                tag = value
            else:
                priority = value[:1].upper()
        message = " ".join(words)
        if not words:
            while piece := await io.stdin():
                message += piece.decode("utf-8", "replace")
                if len(message) > ENTRY_BYTES:
                    break
        self._log.write(priority, tag, message, pid=2000 + int(time.time()) % 20_000, uid=SHELL_UID)
        return 0


def _size_line(name: str, limit: int, used: int) -> str:
    return (
        f"{name}: ring buffer is {limit >> 10} KiB ({used >> 10} KiB consumed), "
        "max entry is 5120 B, max payload is 4068 B\n"
    )
