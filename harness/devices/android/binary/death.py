"""How a program's end becomes evidence: its exit code, its words, the phone's log. Pure functions.

lmkd ends apps that Android started; a program of the shell's it does not know. What ends such a
program for memory is the kernel, whose log the shell may mostly not read. A SIGKILL that nobody
sent, while the phone had next to nothing left, is therefore taken for a memory kill, and says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from harness.devices.android.binary.script import Ended, Memory
    from harness.devices.android.logcat import LogLine

SIGILL: Final = 4
SIGKILL: Final = 9
#: With less than this share of its memory left, a phone is about to kill (lmkd's own watermarks
#: are of 1 to 3 %; the last look is up to half a second old, and a load takes 1 GB/s).
LOW_SHARE: Final = 0.06
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127
_TEXT: Final = 400
_MESSAGE: Final = 4000

_LMKD: Final = re.compile(r"^Kill '[^'\n]{1,300}' \((?P<pid>\d{1,7})\)")
# mm/oom_kill.c, __oom_kill_process: "%s: Killed process %d (%s) total-vm:..."
_KERNEL: Final = re.compile(
    r"(?:Out of memory|Memory cgroup out of memory).{0,20}?"
    r"[Kk]ill(?:ed)? process (?P<pid>\d{1,7})\b"
)
_FATAL: Final = re.compile(r"^Fatal signal \d{1,3} .*?pid (?P<pid>\d{1,7})")
# What programs say when memory is refused: llama.cpp (ggml-backend.cpp, llama-kv-cache.cpp), C++,
# Abseil's status of LiteRT-LM.
_REFUSED: Final = re.compile(
    r"failed to allocate|std::bad_alloc|out of memory|Cannot allocate memory|RESOURCE_EXHAUSTED"
    r"|mmap failed|unable to allocate",
    re.IGNORECASE,
)
_NOT_THE_MODEL: Final = re.compile(
    r"unknown model architecture|error loading model|failed to load model|failed to open"
    r"|invalid magic|unsupported (?:GGUF )?version|INVALID_ARGUMENT|NOT_FOUND"
    r"|tensor .{1,80} not found",
    re.IGNORECASE,
)
_ERROR: Final = re.compile(
    r"error|fail|abort|terminate|fatal|not found|cannot|invalid", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A piece of evidence to come."""

    source: Source
    kind: Kind
    detail: dict[str, JsonValue]


def read_log(line: LogLine, pid: int) -> Finding | None:
    """What a line of the phone's log says of the program's process; None: nothing."""
    if line.tag in {"lowmemorykiller", "lmkd"}:
        pattern, kind = _LMKD, Kind.LMK_KILL
    elif line.tag in {"kernel", "klogd", ""}:
        pattern, kind = _KERNEL, Kind.LMK_KILL
    elif line.tag == "libc":
        pattern, kind = _FATAL, Kind.NATIVE_CRASH
    else:
        return None
    found = pattern.search(line.message)
    if found is None or int(found["pid"]) != pid:
        return None
    detail: dict[str, JsonValue] = {"process": "engine", "pid": pid, "line": str(line)[:_TEXT]}
    if pattern is _KERNEL:
        detail["killer"] = "kernel"
    return Finding(Source.LOGCAT, kind, detail)


def findings(
    ended: Ended,
    errors: str,
    *,
    measured: bool,
    last: Memory | None,
    memory_bytes: int,
    told: bool = False,
) -> list[Finding]:
    """The evidence of a program's end.

    Args:
        ended: how it ended.
        errors: what it wrote to its standard error.
        measured: whether its output has the figures.
        last: its memory when it was last looked at.
        memory_bytes: of the phone.
        told: whether the phone's log named a memory kill already.
    """
    words = last_words(errors)
    if ended.exit_code == 0:
        return (
            [] if measured else [_lab("the program ended well, but no figures were found", words)]
        )
    if ended.signal is not None:
        return _killed(ended.signal, words, last, memory_bytes, told=told)
    if ended.exit_code in {_NOT_EXECUTABLE, _NOT_FOUND} or "CANNOT LINK EXECUTABLE" in errors:
        return [_lab("the phone does not run the program", words)]
    message: dict[str, JsonValue] = {
        "name": f"exit code {ended.exit_code}",
        "message": words[:_MESSAGE],
    }
    if _REFUSED.search(errors):
        refused = _REFUSED.search(errors)
        said = _line_with(errors, refused) if refused else words
        message["message"] = f"out of memory: {said}"[:_MESSAGE]
        return [Finding(Source.ENGINE, Kind.ENGINE_ERROR, message)]
    if _NOT_THE_MODEL.search(errors):
        return [
            Finding(
                Source.ENGINE, Kind.ARTIFACT_REFUSED, {"message": words[:_MESSAGE] or "no words"}
            )
        ]
    return [Finding(Source.ENGINE, Kind.ENGINE_ERROR, message)]


def _killed(
    signal: int, words: str, last: Memory | None, memory_bytes: int, *, told: bool
) -> list[Finding]:
    if signal == SIGILL:
        reason = "the phone's processor lacks an instruction that the program uses (SIGILL)"
        return [Finding(Source.PROCESS, Kind.UNSUPPORTED, {"reason": reason})]
    gone = Finding(
        Source.PROCESS,
        Kind.CHILD_GONE,
        {"signal": signal, "name": f"signal {signal}", "line": words},
    )
    if signal == SIGKILL and not told and last is not None and memory_bytes > 0:
        left = last.available / memory_bytes
        if left < LOW_SHARE:
            detail: dict[str, JsonValue] = {
                "process": "engine",
                "available_bytes": last.available,
                "resident_bytes": last.resident,
                "killer": "SIGKILL",
                "reason": f"from nobody, with {left:.1%} of the phone's memory left",
            }
            return [gone, Finding(Source.PROCESS, Kind.LMK_KILL, detail)]
    return [gone]


def last_words(errors: str) -> str:
    """The last line that tells of an error, else the last line; "" where there is none."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    telling = [line for line in lines if _ERROR.search(line)]
    return ([*lines[-1:], *telling[-1:]] or [""])[-1][:_TEXT]


def read_all(lines: Iterable[LogLine], pid: int) -> list[Finding]:
    """What a log says of the program's process."""
    return [found for line in lines if (found := read_log(line, pid))]


def _line_with(text: str, found: re.Match[str]) -> str:
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return text[start : end if end >= 0 else len(text)].strip()


def _lab(problem: str, words: str) -> Finding:
    message = f"{problem}: {words}" if words else problem
    return Finding(Source.HARNESS, Kind.LAB_ERROR, {"message": message[:_MESSAGE]})
