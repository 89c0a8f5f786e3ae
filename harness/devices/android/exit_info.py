"""Why the processes of an app ended, from `dumpsys activity exit-info PACKAGE` (Android 11 on).

Format: AOSP frameworks/base, core/java/android/app/ApplicationExitInfo.java, `dump`. Android 11 and
12 write one key a line, later ones several; keys have been added since. Records of the past stay
for days, so what is new is what was not there before: `new_records`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# ApplicationExitInfo.REASON_*
EXIT_SELF, SIGNALED, LOW_MEMORY, CRASH, CRASH_NATIVE, ANR = 1, 2, 3, 4, 5, 6
USER_REQUESTED, USER_STOPPED, OTHER, PACKAGE_UPDATED = 10, 11, 13, 16

# The names of this module's constants; Android's own text differs between releases.
REASONS: Final = {
    EXIT_SELF: "EXIT_SELF",
    SIGNALED: "SIGNALED",
    LOW_MEMORY: "LOW_MEMORY",
    CRASH: "CRASH",
    CRASH_NATIVE: "CRASH_NATIVE",
    ANR: "ANR",
    7: "INITIALIZATION_FAILURE",
    8: "PERMISSION_CHANGE",
    9: "EXCESSIVE_RESOURCE_USAGE",
    USER_REQUESTED: "USER_REQUESTED",
    USER_STOPPED: "USER_STOPPED",
    12: "DEPENDENCY_DIED",
    OTHER: "OTHER",
    14: "FREEZER",
    15: "PACKAGE_STATE_CHANGE",
    PACKAGE_UPDATED: "PACKAGE_UPDATED",
}

# The system keeps 16 records a package (32 on some phones); a dump of everything has thousands.
MOST_RECORDS: Final = 512
LONGEST_DUMP: Final = 4 << 20
_TEXT: Final = 400

_START: Final = re.compile(r"^[ \t]*ApplicationExitInfo #?\d*:?[ \t]*$", re.MULTILINE)
_KEY: Final = re.compile(
    r"(?:^|(?<=\s))(?:timestamp|pid|realUid|packageUid|definingUid|user|process|reason|subreason"
    r"|status|importance|pss|rss|description|state|trace)="
)
_SIZE: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)\s*([KMGT]?)B?", re.IGNORECASE)
_SCALE: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How one process ended, as the system recorded it.

    Attributes:
        timestamp: as printed, in the phone's local time: `2026-07-12 06:03:48.426`.
        pid: of the process.
        process: its name, such as `com.android.chrome:sandboxed_process0:...`.
        reason: `REASON_*` of `ApplicationExitInfo`.
        subreason: what the system prints of its finer reason, such as `OOM KILL`; mostly "".
        status: exit code or signal.
        importance: how dear the process was to the system: 100 is in the foreground.
        rss_bytes: resident memory at its last measurement; `None` where it is not known.
        description: the system's free text.
    """

    timestamp: str
    pid: int
    process: str
    reason: int
    subreason: str = ""
    status: int | None = None
    importance: int | None = None
    rss_bytes: int | None = None
    description: str = ""

    @property
    def reason_name(self) -> str:
        """The reason in Android's words."""
        return REASONS.get(self.reason, f"reason {self.reason}")


def parse_exit_info(text: str) -> list[ExitRecord]:
    """The records of a dump, newest first as the system prints them; broken ones are left out.

    Never raises, whatever the text.
    """
    _, *blocks = _START.split(text[:LONGEST_DUMP])
    records = (_record(_fields(block)) for block in blocks[:MOST_RECORDS])
    return [record for record in records if record is not None]


def answers(text: str) -> bool:
    """Whether a dump is one of exit-info at all; Android 10 and older do not know the word."""
    return "PROCESS EXIT INFO" in text[:_TEXT]


def new_records(before: Sequence[ExitRecord], after: Sequence[ExitRecord]) -> list[ExitRecord]:
    """What `after` has that `before` had not, oldest first.

    Records are told apart by time and process number. A record may still be completed (lmkd's word
    comes after the zygote's), so a changed reason is new.
    """
    known = {(record.timestamp, record.pid, record.reason) for record in before}
    fresh = [r for r in after if (r.timestamp, r.pid, r.reason) not in known]
    return sorted(fresh, key=lambda record: record.timestamp)


def _fields(block: str) -> dict[str, str]:
    """`key=value` pairs; a value, which may hold spaces, ends before the next known key."""
    found = list(_KEY.finditer(block))
    ends = [*(match.start() for match in found[1:]), len(block)]
    fields: dict[str, str] = {}
    for match, end in zip(found, ends, strict=False):
        # The first of a name is the system's: a description may hold anything.
        fields.setdefault(match.group()[:-1], _first_line(block[match.end() : end]))
    return fields


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].strip()[:_TEXT] if lines else ""


def _record(fields: dict[str, str]) -> ExitRecord | None:
    pid, reason = _int(fields.get("pid")), _int(fields.get("reason"))
    if pid is None or reason is None:
        return None
    return ExitRecord(
        timestamp=fields.get("timestamp", "")[:40],
        pid=pid,
        process=_text(fields.get("process")),
        reason=reason,
        subreason=_words(fields.get("subreason")),
        status=_int(fields.get("status")),
        importance=_int(fields.get("importance")),
        rss_bytes=parse_size(fields.get("rss", "")),
        description=_text(fields.get("description")),
    )


def _int(text: str | None) -> int | None:
    found = re.match(r"-?\d{1,18}(?!\d)", text or "", re.ASCII)
    return int(found.group()) if found else None


def _text(text: str | None) -> str:
    return "" if text in {None, "null"} else str(text)


def _words(text: str | None) -> str:
    """`30 (OOM KILL)` as `OOM KILL`, and "" for 0 and for UNKNOWN."""
    number, _, rest = (text or "").partition(" ")
    words = rest.strip("() ")
    return "" if number in {"", "0"} or words == "UNKNOWN" else (words or number)


def parse_size(text: str) -> int | None:
    """Bytes of a size as Android's `DebugUtils.printSizeValue` prints it: `1.9GB`, `270MB`, `0.00`.

    0 is not known: nothing that ran had no memory.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    size = round(float(found.group(1)) * _SCALE[found.group(2).upper()])
    return size or None
