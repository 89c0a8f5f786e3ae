r"""A phone's recorded answers: one file a command, and an index of command lines.

A directory `device_profiles/dumps/ID/` holds `index.toml` and the files it names:

    schema = 1
    captured = "2026-03-14"

    [[dump]]
    command = "dumpsys battery"
    file = "dumpsys-battery.txt"
    exit_code = 0
    seconds = 0.031
    replay = true

A file is what the command printed, as UTF-8 text with `\n` line ends. What the state of a virtual
phone decides, such as the battery's level, is a placeholder in it: `{{battery.level}}`. A dump with
`replay = false` is a sample of the format only: what it tells changes as a whole (processes,
exits), and the virtual phone makes that itself.

Dumps are read from a repository that anybody may send changes to: names are checked, sizes bounded.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.capture.toml import quoted
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA: Final = 1
INDEX: Final = "index.toml"
LARGEST_FILE: Final = 4 << 20
LARGEST_INDEX: Final = 1 << 20
# Also on file systems that know no case and on Windows.
FILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\.txt")

# Each placeholder, and what stands in its place. Units are those of the dump itself.
PLACEHOLDERS: Final[Mapping[str, str]] = {
    "battery.level": "percent, a whole number",
    "battery.temperature": "tenths of a degree Celsius, a whole number",
    "battery.status": "BatteryManager's number: 2 charging, 3 discharging, 4 not charging, 5 full",
    "battery.ac": "`true` or `false`: powered by a charger",
    "battery.usb": "`true` or `false`: powered over USB",
    "battery.wireless": "`true` or `false`: powered without a cable",
    "thermal.status": "PowerManager's number: 0 none to 6 shutdown",
    "thermal.skin": "degrees Celsius of the skin sensor, with a fraction",
    "memory.total": "kB (1024 bytes), as /proc/meminfo's MemTotal",
    "memory.free": "kB, as MemFree",
    "memory.available": "kB, as MemAvailable",
    "memory.swap_total": "kB, as SwapTotal",
    "memory.swap_free": "kB, as SwapFree",
    "storage.size": "kB (1024 bytes) of /data",
    "storage.used": "kB of /data",
    "storage.free": "kB of /data that an app can have",
    "storage.percent": "of /data in use, a whole number without `%`",
}

_PLACEHOLDER: Final = re.compile(r"\{\{([a-z_]+\.[a-z_]+)\}\}")


@dataclass(frozen=True, slots=True)
class Dump:
    """What one command line printed on a phone, and how it ended."""

    command: str
    text: str
    exit_code: int = 0
    seconds: float = 0.0
    replay: bool = True

    def render(self, values: Mapping[str, str]) -> str:
        """The text with the placeholders' values in their places.

        Raises:
            KeyError: a placeholder has no value.
        """
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self.text)

    @property
    def placeholders(self) -> set[str]:
        """The placeholders in the text."""
        return {found[1] for found in _PLACEHOLDER.finditer(self.text)}


def without_placeholders(text: str) -> str:
    """`text` of a phone, so that nothing in it reads as a placeholder."""
    return _PLACEHOLDER.sub(r"{ {\1} }", text)


def file_name(command: str) -> str:
    """A file's name for a command line: `dumpsys -t 5 battery` -> `dumpsys-t-5-battery.txt`."""
    words = re.sub(r"[^a-z0-9.]+", "-", command.lower()).strip("-.")
    return f"{words[:96].rstrip('-.') or 'dump'}.txt"


def write_dumps(directory: Path, dumps: Iterable[Dump], *, captured: str) -> None:
    """Write files and index into an existing, empty directory; `captured` is a day, YYYY-MM-DD."""
    lines = [f"schema = {SCHEMA}", f"captured = {quoted(captured)}"]
    taken = {INDEX}
    for dump in dumps:
        name = _free(file_name(dump.command), taken)
        taken.add(name)
        (directory / name).write_text(dump.text, encoding="utf-8", newline="\n")
        lines += [
            "",
            "[[dump]]",
            f"command = {quoted(dump.command)}",
            f"file = {quoted(name)}",
            f"exit_code = {dump.exit_code}",
            f"seconds = {dump.seconds:.3f}",
            f"replay = {str(dump.replay).lower()}",
        ]
    text = "\n".join([*lines, ""])
    (directory / INDEX).write_text(text, encoding="utf-8", newline="\n")


def read_dumps(directory: Path) -> dict[str, Dump]:
    """A directory's dumps by command line; empty where there is no directory.

    Raises:
        UserError: the index or a file is missing, too large or not as described above.
    """
    if not directory.is_dir():
        return {}
    index = directory / INDEX
    try:
        data = tomllib.loads(_read(index, LARGEST_INDEX))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{index}: is not valid TOML: {error}") from error
    if data.get("schema") != SCHEMA:
        raise UserError(
            f"{index}: schema is {data.get('schema')!r}; this version reads {SCHEMA}",
            "capture the phone again with `tierlab profile capture`",
        )
    entries = data.get("dump", [])
    if not isinstance(entries, list):
        raise UserError(f"{index}: dump: is not a list; write [[dump]]")
    dumps: dict[str, Dump] = {}
    for number, entry in enumerate(entries, 1):
        dump = _dump(directory, entry, f"{index}: dump {number}")
        if dump.command in dumps:
            raise UserError(f"{index}: dump {number}: {dump.command!r} is there twice")
        dumps[dump.command] = dump
    return dumps


def _dump(directory: Path, entry: object, where: str) -> Dump:
    match entry:
        case {
            "command": str(command),
            "file": str(name),
            "exit_code": int(exit_code),
            "seconds": int() | float() as seconds,
            "replay": bool(replay),
            **others,
        } if not others:
            pass
        case _:
            raise UserError(
                f"{where}: is not a dump",
                "write command, file, exit_code, seconds and replay, and nothing else",
            )
    if not FILE_NAME.fullmatch(name):
        raise UserError(
            f"{where}: file: {name!r} is not a plain file name",
            f"name it like {file_name(command)}",
        )
    text = _read(directory / name, LARGEST_FILE)
    dump = Dump(command, text, exit_code, float(seconds), replay)
    strange = sorted(dump.placeholders - PLACEHOLDERS.keys())
    if strange:
        raise UserError(
            f"{directory / name}: unknown placeholder {strange[0]!r}",
            f"known: {', '.join(PLACEHOLDERS)}",
        )
    return dump


def _read(path: Path, largest: int) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(largest + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text ({error.reason})") from error
    if len(data) > largest:
        raise UserError(f"{path}: is larger than {largest} bytes")
    return text


def _free(name: str, taken: set[str]) -> str:
    """`name`, or the same with the first number that is free."""
    stem = name.removesuffix(".txt")
    number = 2
    while name in taken:
        name = f"{stem}-{number}.txt"
        number += 1
    return name
