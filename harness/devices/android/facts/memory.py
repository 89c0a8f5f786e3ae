"""Memory of the whole phone and of an app's processes.

Formats: proc(5), `/proc/meminfo`; AOSP frameworks/base, ActivityThread.dumpMemInfoTable and
Debug.MemoryInfo's App Summary for `dumpsys meminfo` (`TOTAL:` until Android 11, `TOTAL PSS:` since,
`TOTAL SWAP PSS:` or `TOTAL SWAP (KB):` by what the kernel tells).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from harness.devices.android.facts.text import bodies, clean, whole

_KIB: Final = 1024
_MOST_PROCESSES: Final = 500
_LINE: Final = re.compile(
    r"^(?P<key>[A-Za-z0-9_()]{1,40}):\s+(?P<value>\d{1,15})(?: kB)?\s*$", re.MULTILINE
)
_PROCESS: Final = re.compile(
    r"^\*\* MEMINFO in pid (?P<pid>\d{1,10}) \[(?P<name>[^\]\n]{1,400})\]", re.MULTILINE
)
_PSS: Final = re.compile(r"^ *TOTAL(?: PSS)?: +(?P<kb>\d{1,12})\b", re.MULTILINE)
_RSS: Final = re.compile(r"\bTOTAL RSS: +(?P<kb>\d{1,12})\b")
_SWAP: Final = re.compile(r"\bTOTAL SWAP(?: PSS| \(KB\)): +(?P<kb>\d{1,12})\b")
# Without a summary, as before Android 6: the table's last row.
_TABLE_ROW: Final = re.compile(r"^ *TOTAL +(?P<kb>\d{1,12})(?= +\d)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Memory:
    """The phone's memory in bytes; `available` is what may be had without swapping much."""

    total_bytes: int | None
    available_bytes: int | None
    swap_total_bytes: int | None
    swap_free_bytes: int | None


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process: proportional, resident and swapped bytes. None: not told by this release."""

    pid: int
    name: str
    pss_bytes: int | None
    rss_bytes: int | None
    swap_bytes: int | None


def parse_meminfo(text: str) -> Memory | None:
    """`/proc/meminfo`; None where it is none."""
    rows: dict[str, int] = {}
    for match in _LINE.finditer(text):
        rows.setdefault(match["key"], int(match["value"]) * _KIB)
    if not rows:
        return None
    return Memory(
        rows.get("MemTotal"),
        rows.get("MemAvailable"),
        rows.get("SwapTotal"),
        rows.get("SwapFree"),
    )


def parse_process_memory(text: str) -> list[ProcessMemory]:
    """The processes in `dumpsys meminfo PACKAGE`; empty where none runs."""
    heads = list(_PROCESS.finditer(text))[:_MOST_PROCESSES]
    return [_process(head, body) for head, body in zip(heads, bodies(text, heads), strict=True)]


def _process(head: re.Match[str], body: str) -> ProcessMemory:
    pss = _PSS.search(body) or _TABLE_ROW.search(body)
    return ProcessMemory(
        pid=int(head["pid"]),
        name=clean(head["name"]) or "?",
        pss_bytes=_bytes(pss),
        rss_bytes=_bytes(_RSS.search(body)),
        swap_bytes=_bytes(_SWAP.search(body)),
    )


def _bytes(match: re.Match[str] | None) -> int | None:
    kilobytes = whole(match["kb"]) if match else None
    return None if kilobytes is None else kilobytes * _KIB
