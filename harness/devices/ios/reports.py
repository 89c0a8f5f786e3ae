"""What iOS writes down about ends of processes: jetsam event reports and crash reports (`.ips`).

Formats: Apple, "Identifying high-memory use with jetsam event reports" and "Interpreting the JSON
format of a crash report". A file is a line of JSON, then one JSON object; `bug_type` in the line is
298 for a jetsam event and 309 for a crash. Reports are untrusted, and fields come and go with
releases: what is missing is unknown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from results.record import Kind

if TYPE_CHECKING:
    from pydantic import JsonValue

_JETSAM: Final = "298"
_CRASH: Final = "309"
#: Reports of a few hundred processes take some 300 kB.
LONGEST_REPORT: Final = 4 << 20
_MOST_PROCESSES: Final = 4096
_TEXT: Final = 200
_MOST_BYTES: Final = 1 << 50
_PAGE_BYTES: Final = 16384  # of every device since the A7
#: Reasons that speak of memory (xnu: bsd/kern/kern_memorystatus.c, memorystatus_kill_cause_name).
#: `vnode-limit`, `disk-space-shortage`, `idle-exit` and the unspecific `jettisoned` do not.
MEMORY_REASONS: Final = frozenset(
    {
        "fc-thrashing",
        "highwater",
        "low-swap",
        "per-process-limit",
        "proc-thrashing",
        "sustained-memory-pressure",
        "vm-compressor-space-shortage",
        "vm-compressor-thrashing",
        "vm-pageout-starvation",
        "vm-pageshortage",
        "zone-map-exhaustion",
    }
)
#: The processes of Safari and of every web view, as WebKit names them.
ROLES: Final = {
    "com.apple.WebKit.WebContent": "renderer",
    "com.apple.WebKit.GPU": "gpu",
    "com.apple.WebKit.Networking": "utility",
    "MobileSafari": "browser",
}


@dataclass(frozen=True, slots=True)
class Jettisoned:
    """A process that was ended for memory.

    Attributes:
        name: of the process, cut by iOS to 32 characters.
        pid: its number.
        reason: in iOS's words, such as `per-process-limit`.
        resident_bytes: what it had in memory.
        frontmost: whether it was the one that the user saw.
    """

    name: str
    pid: int
    reason: str
    resident_bytes: int
    frontmost: bool


@dataclass(frozen=True, slots=True)
class JetsamReport:
    """A jetsam event: who was ended, and who was the largest."""

    time: str
    product: str
    build: str
    largest: str
    ended: tuple[Jettisoned, ...]


@dataclass(frozen=True, slots=True)
class CrashReport:
    """A crash: which process, and of what."""

    time: str
    process: str
    pid: int
    signal: str
    exception: str
    reason: str


Report = JetsamReport | CrashReport


def parse_report(text: str) -> Report | None:
    """A report of either kind; None for anything else. Never raises."""
    head, body = _objects(text[:LONGEST_REPORT])
    kind = str(head.get("bug_type") or body.get("bug_type") or "")
    if kind == _JETSAM or (not kind and "largestProcess" in body):
        return _jetsam(head, body)
    if kind == _CRASH:
        return _crash(head, body)
    return None


def evidence_of(
    report: Report, roles: dict[str, str] | None = None
) -> list[tuple[Kind, dict[str, JsonValue]]]:
    """What a report says of the processes that a load needs.

    Args:
        report: of iOS.
        roles: by a process's name, what it is to the load; None: those of Safari.
    """
    known = ROLES if roles is None else roles
    if isinstance(report, CrashReport):
        role = _role(report.process, known)
        detail: dict[str, JsonValue] = {
            "process": role,
            "pid": report.pid,
            "killer": "crash report",
            "line": f"{report.process}: {report.exception} {report.signal} {report.reason}".strip(),
            "time": report.time,
        }
        return [(Kind.NATIVE_CRASH, detail)] if role else []
    found: list[tuple[Kind, dict[str, JsonValue]]] = []
    for process in report.ended:
        role = _role(process.name, known)
        if role and process.reason in MEMORY_REASONS:
            found.append(
                (
                    Kind.LMK_KILL,
                    {
                        "process": role,
                        "pid": process.pid,
                        "name": process.name,
                        "killer": "jetsam",
                        "reason": process.reason,
                        "rss_bytes": process.resident_bytes,
                        "frontmost": process.frontmost,
                        "largest": report.largest,
                        "time": report.time,
                    },
                )
            )
    return found


def _role(name: str, roles: dict[str, str]) -> str:
    """What a process is to the load, "" for none; iOS cuts long names."""
    for known, role in roles.items():
        if name == known or (len(name) >= 31 and known.startswith(name)):  # noqa: PLR2004
            return role
    return ""


def _objects(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The line in front and the object; empty ones where there are none."""
    first, _, rest = text.lstrip("\ufeff \r\n").partition("\n")
    head = _object(first)
    return (head, _object(rest)) if head else ({}, _object(text))


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _jetsam(head: dict[str, Any], body: dict[str, Any]) -> JetsamReport:
    status = body.get("memoryStatus")
    page = _number(status.get("pageSize")) if isinstance(status, dict) else 0
    processes = body.get("processes")
    listed = processes[:_MOST_PROCESSES] if isinstance(processes, list) else []
    return JetsamReport(
        time=_text(body.get("date") or head.get("timestamp")),
        product=_text(body.get("product")),
        build=_text(body.get("build") or head.get("os_version")),
        largest=_text(body.get("largestProcess")),
        ended=tuple(
            _jettisoned(process, page or _PAGE_BYTES)
            for process in listed
            if isinstance(process, dict) and process.get("reason")
        ),
    )


def _jettisoned(process: dict[str, Any], page_bytes: int) -> Jettisoned:
    states = process.get("states")
    return Jettisoned(
        name=_text(process.get("name")),
        pid=_number(process.get("pid")),
        reason=_text(process.get("reason")),
        resident_bytes=min(_number(process.get("rpages")) * page_bytes, _MOST_BYTES),
        frontmost=isinstance(states, list) and "frontmost" in states,
    )


def _crash(head: dict[str, Any], body: dict[str, Any]) -> CrashReport:
    exception = body.get("exception")
    said = exception if isinstance(exception, dict) else {}
    termination = body.get("termination")
    ended = termination if isinstance(termination, dict) else {}
    return CrashReport(
        time=_text(body.get("captureTime") or head.get("timestamp")),
        process=_text(body.get("procName") or head.get("app_name")),
        pid=_number(body.get("pid")),
        signal=_text(said.get("signal")),
        exception=_text(said.get("type")),
        reason=_text(ended.get("indicator") or ended.get("namespace")),
    )


def _text(value: object) -> str:
    return str(value)[:_TEXT] if isinstance(value, str | int) else ""


def _number(value: object) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and isinstance(value, int) and 0 <= value < _MOST_BYTES else 0
