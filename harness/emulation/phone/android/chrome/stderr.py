"""Chromium's stderr as Android's log shows it, and what it says of the GPU process's end.

On Linux a line reads `[PID:TID:MMDD/HHMMSS.micros:LEVEL:file.cc:LINE] text` (base/logging.cc); on
Android the same goes to the log with the tag `chromium` as `[LEVEL:file.cc(LINE)] text`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

LINE_CHARACTERS: Final = 4000
_LINE: Final = re.compile(
    r"^\[(?P<pid>\d{1,9}):(?P<tid>\d{1,9}):[\d/.]{1,32}:(?P<level>[A-Z]+\d*):"
    r"(?P<file>[^\s\]]{1,400})(?::|\()(?P<line>\d{1,7})\)?\] ?(?P<text>.*)$",
    re.DOTALL,
)
_PRIORITIES: Final = {"INFO": "I", "WARNING": "W", "ERROR": "E", "FATAL": "F"}
_GPU_EXIT: Final = re.compile(r"GPU process exited unexpectedly: exit_code=(\d{1,5})")
# Of no use on a phone: what a host without a desktop lacks.
_NOISE: Final = re.compile(
    r"DevTools listening on|dbus|org\.freedesktop|UPower|xdg-settings|third_party/crashpad/"
)


class LogLine(NamedTuple):
    """A line for the log; `pid` is `None` where the line names none."""

    pid: int | None
    tid: int | None
    priority: str
    text: str


def log_line(line: str) -> LogLine | None:
    """The line as Android logs it; `None` for what is not worth a line there."""
    line = line.rstrip("\r\n")[:LINE_CHARACTERS]
    if not line.strip() or _NOISE.search(line):
        return None
    found = _LINE.match(line)
    if found is None:
        return LogLine(None, None, "I", line)
    level = found["level"]
    priority = "V" if level.startswith("VERBOSE") else _PRIORITIES.get(level, "I")
    name = found["file"].rpartition("/")[2]
    text = f"[{level}:{name}({found['line']})] {found['text']}"
    return LogLine(int(found["pid"]), int(found["tid"]), priority, text)


def gpu_exit(line: str) -> int | None:
    """The signal, or the exit code, with which the GPU process ended unexpectedly."""
    found = _GPU_EXIT.search(line)
    return int(found.group(1)) if found else None
