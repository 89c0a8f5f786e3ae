"""The log: a ring of entries by buffer, and the formats of `logcat -v`.

Formats: `logprint.cpp` of AOSP (system/logging/liblog), `android_log_formatLogLine`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

BUFFERS: Final = ("main", "system", "radio", "events", "crash", "kernel")
DEFAULT_BUFFERS: Final = ("main", "system", "crash")
PRIORITIES: Final = "VDIWEFS"
RING_BYTES: Final = 256 << 10
RING_ENTRIES: Final = 4096
#: The payload of one entry (`LOGGER_ENTRY_MAX_PAYLOAD`).
ENTRY_BYTES: Final = 4068
_TAG_CHARACTERS: Final = 128


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log. `number` counts all entries since boot, over all buffers."""

    number: int
    at: float
    buffer: str
    pid: int
    tid: int
    uid: int
    priority: str
    tag: str
    message: str

    @property
    def size(self) -> int:
        """Bytes that it takes of its buffer, about."""
        return 28 + len(self.tag) + len(self.message)


class Logcat:
    """The buffers, each a ring of its own."""

    def __init__(self) -> None:
        self._rings: dict[str, deque[Entry]] = {name: deque() for name in BUFFERS}
        self._bytes = dict.fromkeys(BUFFERS, 0)
        self.limits = dict.fromkeys(BUFFERS, RING_BYTES)
        self._number = 0
        self._more = asyncio.Event()

    def write(
        self,
        priority: str,
        tag: str,
        message: str,
        *,
        pid: int = 1000,
        tid: int | None = None,
        uid: int = 1000,
        buffer: str = "main",
    ) -> None:
        """Add an entry; what is too long is cut, as liblog does."""
        if priority not in PRIORITIES:
            priority = "I"
        self._number += 1
        entry = Entry(
            number=self._number,
            at=time.time(),
            buffer=buffer,
            pid=pid,
            tid=pid if tid is None else tid,
            uid=uid,
            priority=priority,
            tag=tag[:_TAG_CHARACTERS],
            message=message[:ENTRY_BYTES],
        )
        ring = self._rings[buffer]
        ring.append(entry)
        self._bytes[buffer] += entry.size
        while len(ring) > RING_ENTRIES or self._bytes[buffer] > self.limits[buffer]:
            self._bytes[buffer] -= ring.popleft().size
        self._more.set()

    def entries(self, buffers: Collection[str], after: int = 0) -> list[Entry]:
        """The entries of these buffers with a greater number, oldest first."""
        found = [entry for name in buffers for entry in _newer(self._rings[name], after)]
        return sorted(found, key=lambda entry: entry.number)

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._number

    async def changed(self, after: int) -> None:
        """Wait until there is an entry with a greater number."""
        while self._number <= after:
            self._more.clear()
            await self._more.wait()

    def clear(self, buffers: Collection[str]) -> None:
        """Empty these buffers."""
        for name in buffers:
            self._rings[name].clear()
            self._bytes[name] = 0

    def used(self, buffer: str) -> int:
        """Bytes in a buffer."""
        return self._bytes[buffer]


def _newer(ring: deque[Entry], after: int) -> Iterator[Entry]:
    if not ring or ring[-1].number <= after:
        return iter(())
    count = 0
    for entry in reversed(ring):
        if entry.number <= after:
            break
        count += 1
    return islice(ring, len(ring) - count, None)


FORMATS: Final = ("brief", "process", "tag", "thread", "raw", "time", "threadtime", "long")
MODIFIERS: Final = (
    "color",
    "colour",
    "descriptive",
    "epoch",
    "monotonic",
    "nsec",
    "printable",
    "uid",
    "usec",
    "UTC",
    "utc",
    "year",
    "zone",
)


def format_entry(entry: Entry, style: str = "threadtime", modifiers: Collection[str] = ()) -> str:
    """One entry as `logcat -v STYLE` prints it; a message of many lines repeats the prefix."""
    stamp = _stamp(entry.at, modifiers)
    uid = f"{_user(entry.uid):>5}:" if "uid" in modifiers else ""
    pid, tid, priority, tag = entry.pid, entry.tid, entry.priority, entry.tag
    prefix, suffix = {
        "tag": (f"{priority}/{tag:<8}: ", ""),
        "process": (f"{priority}({uid}{pid:5d}) ", f"  ({tag})"),
        "thread": (f"{priority}({uid}{pid:5d}:{tid:5d}) ", ""),
        "raw": ("", ""),
        "time": (f"{stamp} {priority}/{tag:<8}({uid}{pid:5d}): ", ""),
        "long": (f"[ {stamp} {uid}{pid:5d}:{tid:5d} {priority}/{tag:<8} ]\n", "\n"),
        "brief": (f"{priority}/{tag:<8}({uid}{pid:5d}): ", ""),
    }.get(style, (f"{stamp} {uid}{pid:5d} {tid:5d} {priority} {tag:<8}: ", ""))
    if style == "long":
        return f"{prefix}{entry.message}\n{suffix}"
    lines = entry.message.rstrip("\n").split("\n")
    return "".join(f"{prefix}{line}{suffix}\n" for line in lines)


def _stamp(at: float, modifiers: Collection[str]) -> str:
    digits = 6 if "usec" in modifiers else 9 if "nsec" in modifiers else 3
    fraction = f"{int(at % 1 * 10**digits):0{digits}d}"
    if "epoch" in modifiers or "monotonic" in modifiers:
        return f"{int(at):>10}.{fraction}"
    year = "%Y-" if "year" in modifiers else ""
    zone = " +0000" if {"zone", "UTC", "utc"} & set(modifiers) else ""
    return time.strftime(f"{year}%m-%d %H:%M:%S", time.gmtime(at)) + f".{fraction}{zone}"


def _user(uid: int) -> str:
    return {0: "root", 1000: "system", 2000: "shell", 1069: "lmkd"}.get(uid, str(uid))
