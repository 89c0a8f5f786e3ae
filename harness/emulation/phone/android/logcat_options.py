"""The options of `logcat` (system/logging/logcat/logcat.cpp of AOSP)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.logcat import (
    BUFFERS,
    DEFAULT_BUFFERS,
    FORMATS,
    MODIFIERS,
    PRIORITIES,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.emulation.phone.android.logcat import Entry

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
