"""`ps`, `pidof`, `pgrep`, `top`: the phone's processes, not the host's (toybox's forms)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.registry import count_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.android.state import Process
    from harness.emulation.phone.command import Command, CommandIO

_DEFAULT: Final = ("USER", "PID", "PPID", "VSZ", "RSS", "WCHAN", "ADDR", "S", "NAME")
_FULL: Final = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_PS_HELP: Final = """\
usage: ps [-Aef] [-o FIELD,...] [-p PID,...] [NAME...]

List processes.

-A\tAll processes
-e\tThe same
-f\tFull format: -o USER:12=UID,PID,PPID,C,STIME,TTY,TIME,ARGS=CMD
-o\tShow these fields
-p\tShow these processes
"""
_WIDTHS: Final = {
    "USER": -14, "UID": -14, "PID": 6, "PPID": 6, "VSZ": 11, "RSS": 7, "WCHAN": -19, "ADDR": 8,
    "S": 1, "C": 1, "STIME": -5, "TTY": -8, "TIME": -8, "NAME": 0, "CMD": 0, "ARGS": 0,
    "CMDLINE": 0, "COMM": -15, "PCY": -3, "OOM_SCORE_ADJ": 5, "TID": 6, "STAT": 4,
}  # fmt: skip


def user_name(phone: Phone, process: Process) -> str:
    """`u0_a152`, `u0_i3`, `system`: the user as Android's `getpwuid` names it."""
    if process.uid >= 99_000:  # noqa: PLR2004 - isolated users
        return f"u0_i{process.uid - 99_000}"
    if process.uid >= 10_000:  # noqa: PLR2004 - users of apps
        return f"u0_a{process.uid - 10_000}"
    names = {0: "root", 1000: "system", 1069: "lmkd", 2000: "shell"}
    del phone
    return names.get(process.uid, str(process.uid))


def _cell(phone: Phone, process: Process, column: str) -> str:
    get: dict[str, Callable[[], object]] = {
        "USER": lambda: user_name(phone, process),
        "UID": lambda: user_name(phone, process),
        "PID": lambda: process.pid,
        "TID": lambda: process.pid,
        "PPID": lambda: process.parent,
        "VSZ": lambda: (process.virtual or process.rss * 4) >> 10,
        "RSS": lambda: process.rss >> 10,
        "WCHAN": lambda: "do_epoll_wait",
        "ADDR": lambda: 0,
        "S": lambda: "S",
        "STAT": lambda: "S",
        "C": lambda: 0,
        "STIME": lambda: "00:00",
        "TTY": lambda: "?",
        "TIME": lambda: "00:00:00",
        "PCY": lambda: "fg",
        "OOM_SCORE_ADJ": lambda: 0,
        "COMM": lambda: process.name[-15:],
    }
    return str(get.get(column, lambda: process.name)())


def table(phone: Phone, processes: Sequence[Process], columns: Sequence[str]) -> str:
    """Rows under their names; the last column is as wide as it needs."""
    rows = [list(columns), *([_cell(phone, item, each) for each in columns] for item in processes)]
    lines = []
    for row in rows:
        cells = []
        for number, (name, cell) in enumerate(zip(columns, row, strict=True)):
            width = _WIDTHS.get(name, 0)
            last = number == len(columns) - 1
            if last:
                cells.append(cell)
            else:
                cells.append(cell.ljust(-width) if width < 0 else cell.rjust(width))
        lines.append(" ".join(cells))
    return "\n".join(lines) + "\n"


def commands(phone: Phone) -> dict[str, Command]:
    """The family's commands."""
    return Processes(phone).commands()


class Processes:
    """The process tools."""

    def __init__(self, phone: Phone) -> None:
        self._phone = phone

    def commands(self) -> dict[str, Command]:
        """By name."""
        return {"ps": self._ps, "pidof": self._pidof, "pgrep": self._pgrep, "top": self._top}

    async def _ps(self, argv: Sequence[str], io: CommandIO) -> int:
        if "--help" in argv[1:]:
            await io.out(_PS_HELP)
            return 0
        columns: list[str] = list(_DEFAULT)
        pids: set[int] | None = None
        names: set[str] = set()
        words = list(argv[1:])
        while words:
            word = words.pop(0)
            if word == "-o" or word.startswith("-o"):
                value = word[2:] or (words.pop(0) if words else "")
                columns = [part.partition("=")[0].upper() for part in re.split(r"[, ]+", value)]
            elif word in {"-p", "-P"} and words:
                pids = {int(part) for part in words.pop(0).split(",") if part.isdecimal()}
            elif word == "-k" and words:
                words.pop(0)
            elif re.fullmatch(r"-[AaefTwlZ]+", word):
                columns = list(_FULL) if "f" in word else columns
            elif word.isdecimal():  # the ps of Android 7 and older takes a pid
                pids = (pids or set()) | {int(word)}
            elif word.startswith("-"):
                count_unknown(self._phone.state, argv)
                await io.err(f"ps: Unknown option '{word.lstrip('-')}' (see \"ps --help\")\n")
                return 1
            else:
                names.add(word)
        strange = [each for each in columns if each not in _WIDTHS]
        if strange:
            await io.err(f"ps: bad -o '{strange[0]}'\n")
            return 1
        chosen = [
            item
            for item in self._phone.processes()
            if (pids is None or item.pid in pids) and (not names or item.name in names)
        ]
        await io.out(table(self._phone, chosen, columns))
        return 0 if chosen else 1

    async def _pidof(self, argv: Sequence[str], io: CommandIO) -> int:
        one = "-s" in argv
        wanted = [word for word in argv[1:] if not word.startswith("-")]
        found = [str(item.pid) for item in self._phone.processes() if item.name in wanted]
        if not found:
            return 1
        await io.out(" ".join(found[:1] if one else found) + "\n")
        return 0

    async def _pgrep(self, argv: Sequence[str], io: CommandIO) -> int:
        wanted = [word for word in argv[1:] if not word.startswith("-")]
        if len(wanted) != 1:
            await io.err("pgrep: needs a pattern\n")
            return 1
        try:
            pattern = re.compile(wanted[0][:1000])
        except re.error:
            await io.err(f"pgrep: bad pattern '{wanted[0]}'\n")
            return 1
        flags = "".join(word.lstrip("-") for word in argv[1:] if word.startswith("-"))
        found = [
            item
            for item in self._phone.processes()
            if (pattern.fullmatch if "x" in flags else pattern.search)(
                item.name if "f" in flags else item.name[-15:]
            )
        ]
        shown = [f"{item.pid} {item.name}" if "l" in flags else f"{item.pid}" for item in found]
        await io.out("".join(f"{line}\n" for line in shown))
        return 0 if found else 1

    async def _top(self, argv: Sequence[str], io: CommandIO) -> int:
        if "-b" not in argv and "-n" not in argv:
            count_unknown(self._phone.state, argv)
            await io.err("top: a virtual self._phone shows one table: top -b -n 1\n")
            return 1
        processes = sorted(self._phone.processes(), key=lambda item: -item.rss)
        head = (
            f"Tasks: {len(processes)} total\n  Mem: {self._phone.state.memory_total >> 10}K total\n"
        )
        await io.out(head + table(self._phone, processes, ("PID", "USER", "RSS", "S", "ARGS")))
        return 0
