"""`logcat` and `log` (system/logging/logcat/logcat.cpp of AOSP)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.logcat import (
    BUFFERS,
    DEFAULT_BUFFERS,
    ENTRY_BYTES,
    FORMATS,
    MODIFIERS,
    PRIORITIES,
    format_entry,
)
from harness.emulation.phone.android.registry import count_unknown
from harness.emulation.phone.android.state import SHELL_UID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.emulation.phone.android.logcat import Entry
    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.command import Command, CommandIO

_WITH_VALUE: Final = {
    "-b": "buffer", "--buffer": "buffer", "-v": "format", "--format": "format",
    "-t": "tail", "-T": "since", "-e": "regex", "--regex": "regex", "-m": "max",
    "--max-count": "max", "--pid": "pid", "-G": "size", "--buffer-size": "size", "--uid": "uid",
}  # fmt: skip
_FLAGS: Final = {
    "-d": "dump", "-c": "clear", "--clear": "clear", "-g": "sizes", "-s": "silent",
    "-D": "dividers", "--dividers": "dividers", "--print": "print", "-L": "last",
    "--last": "last", "-S": "statistics", "--statistics": "statistics", "--wrap": "wrap",
    "-B": "binary", "--binary": "binary",
}  # fmt: skip
_SIZE: Final = re.compile(r"(\d{1,9})([KMG]?)", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SMALLEST: Final = 64 << 10
_LARGEST: Final = 16 << 20


class OptionError(Exception):
    """The command line is not right; the message is what logcat prints."""


@dataclass(slots=True)
class Options:
    """A parsed command line. `tail` and `since` are a count or a moment."""

    buffers: list[str] = field(default_factory=list)
    style: str = "threadtime"
    modifiers: set[str] = field(default_factory=set)
    dump: bool = False
    clear: bool = False
    sizes: bool = False
    last: bool = False
    size: int | None = None
    tail: int | float | None = None
    regex: re.Pattern[str] | None = None
    most: int | None = None
    pid: int | None = None
    uids: set[int] | None = None
    filters: dict[str, str] = field(default_factory=dict)
    default: str = "V"

    def shows(self, entry: Entry) -> bool:
        """Whether this line is wanted."""
        if self.pid is not None and entry.pid != self.pid:
            return False
        if self.uids is not None and entry.uid not in self.uids:
            return False
        least = self.filters.get(entry.tag, self.default)
        if least == "S" or PRIORITIES.index(entry.priority) < PRIORITIES.index(least):
            return False
        return self.regex is None or self.regex.search(entry.message) is not None


def parse(words: Sequence[str]) -> Options:
    """The options of a command line.

    Raises:
        OptionError: one of them is not known or makes no sense.
    """
    options = Options()
    for name, value in _split(words):
        if name is None:
            for part in value.split(","):
                _filter(options, part)
        else:
            _apply(options, name, value)
    options.buffers = list(dict.fromkeys(options.buffers)) or list(DEFAULT_BUFFERS)
    return options


def _split(words: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """(option, value) by option, (None, text) for filters."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word.startswith("--") and equals and name in _WITH_VALUE:
            yield _WITH_VALUE[name], value
        elif word in _FLAGS:
            yield _FLAGS[word], ""
        elif word in _WITH_VALUE:
            if not rest:
                raise OptionError(f"logcat: option requires an argument -- '{word.lstrip('-')}'\n")
            yield _WITH_VALUE[word], rest.pop(0)
        elif len(word) > 2 and word[:2] in _WITH_VALUE and not word.startswith("--"):  # noqa: PLR2004
            yield _WITH_VALUE[word[:2]], word[2:]
        elif word.startswith("-") and word != "-":
            raise OptionError(f"logcat: unrecognized option '{word}'\n")
        else:
            yield None, word


def _apply(options: Options, name: str, value: str) -> None:  # noqa: C901, PLR0912 - one case an option
    match name:
        case "dump":
            options.dump = True
        case "clear":
            options.clear = True
        case "sizes":
            options.sizes = True
        case "last":
            options.last = options.dump = True
        case "silent":
            options.default = "S"
        case "buffer":
            options.buffers += _buffers(value)
        case "format":
            _format(options, value)
        case "tail" | "since":
            options.tail = _moment(value)
            options.dump = options.dump or name == "tail"
        case "regex":
            try:
                options.regex = re.compile(value[:1000])
            except re.error as error:
                raise OptionError(f"logcat: bad regex: {error}\n") from error
        case "max":
            options.most = _number(value)
        case "pid":
            options.pid = _number(value)
        case "uid":
            options.uids = {_number(part) for part in value.split(",")}
        case "size":
            options.size = _size(value)
        case "dividers" | "print" | "wrap":
            pass
        case _:
            raise OptionError(f"logcat: a virtual phone does not know the option for {name}\n")


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise OptionError(f"logcat: '{text}' is not a number\n")
    return int(text)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise OptionError(f"logcat: invalid -G '{text}'\n")
    return min(max(int(found[1]) * _UNITS[found[2].upper()], _SMALLEST), _LARGEST)


def _buffers(value: str) -> list[str]:
    found: list[str] = []
    for name in value.split(","):
        if name == "all":
            found += BUFFERS
        elif name == "default":
            found += DEFAULT_BUFFERS
        elif name in BUFFERS:
            found.append(name)
        else:
            raise OptionError(f"logcat: unknown buffer '{name}'\n")
    return found


def _format(options: Options, value: str) -> None:
    for word in value.replace(",", " ").split():
        if word in FORMATS:
            options.style = word
        elif word in MODIFIERS:
            options.modifiers.add(word)
        else:
            raise OptionError(f'logcat: Invalid parameter "{word}" to -v\n')


def _filter(options: Options, text: str) -> None:
    tag, colon, priority = text.partition(":")
    priority = priority.upper() if colon else "V"
    if priority == "*":
        priority = "V"
    if not tag or priority not in PRIORITIES or len(priority) != 1:
        raise OptionError(f"Invalid filter expression '{text}'\n")
    if tag == "*":
        options.default = priority
    else:
        options.filters[tag] = priority


def _moment(text: str) -> int | float:
    """A count of lines, or a moment: `MM-DD hh:mm:ss.mmm`, with a year before it, or seconds."""
    if re.fullmatch(r"\d{1,9}", text):
        return int(text)
    if re.fullmatch(r"\d{1,11}\.\d{1,9}", text):
        return float(text)
    year = datetime.now(UTC).year
    for pattern, given in (
        ("%Y-%m-%d %H:%M:%S.%f", text),
        ("%Y-%m-%d %H:%M:%S.%f", f"{year}-{text}"),
    ):
        try:
            return datetime.strptime(given, pattern).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise OptionError(f'logcat: -t "{text}" not in time format\n')


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
