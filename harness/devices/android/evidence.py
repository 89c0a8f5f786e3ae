"""What lines of a phone's log, and its exit records, say about a death.

Formats, all of AOSP: lmkd (system/memory/lmkd, `kill_one_process`), ActivityManager
(frameworks/base, ProcessRecord.killLocked, ActivityManagerService.forceStopPackageLocked), Zygote
(core/jni/com_android_internal_os_Zygote.cpp, SigChldHandler), libc (bionic,
debuggerd_handler.cpp). V8's and the allocator's lines are those of the desktop.

A line is evidence only about a process of the browser: others die all the time. "Process ... has
died" is none at all: a renderer that is no longer needed ends with it, too. Neither is a process
that ends because nobody needs it any more ("isolated not needed"): browsers come and go with such.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.evidence import read_stderr_line
from results.record import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

    from harness.devices.android.exit_info import ExitRecord
    from harness.devices.android.logcat import LogLine

    Detail = dict[str, JsonValue]
    Said = tuple[Kind, Detail]

_TEXT: Final = 400
_NOT_NEEDED: Final = "isolated not needed"

# Fields have been inserted between "rss" and "reason" since Android 12; see the tests' samples.
_LMKD: Final = re.compile(
    r"^Kill '(?P<name>[^'\n]{1,300})' \((?P<pid>\d{1,7})\), uid -?\d+, oom_score_adj (?P<adj>-?\d+)"
    r"(?:.*? (?P<rss>\d{1,12})\s?kB rss)?.*?(?:; reason: (?P<reason>.*))?$"
)
# lmkd's entry in the events buffer has no name: (pid, uid, adj, ...).
_KILLINFO: Final = re.compile(r"^\[(?P<pid>\d{1,7}),-?\d+,(?P<adj>-?\d+),")
_KILLING: Final = re.compile(
    r"^Killing (?P<pid>\d{1,7}):(?P<name>[^\n]{1,300})/[\w.]+ \(adj (?P<adj>-?\d+)\)"
    r"(?:: (?P<reason>.*))?$"
)
_FORCE_STOP: Final = re.compile(r"^Force stopping (?P<name>[\w.]+) .*?user=-?\d+: (?P<reason>.*)$")
_EXITED: Final = re.compile(
    r"^Process (?P<pid>\d{1,7}) exited "
    r"(?:due to signal (?P<signal>\d{1,3})|cleanly \((?P<code>\d{1,3})\))"
)
_FATAL: Final = re.compile(
    r"^Fatal signal (?P<signal>\d{1,3}) \((?P<word>\w{1,20})\).*?"
    r"in tid \d+ \((?P<thread>[^)\n]{0,60})\), pid (?P<pid>\d{1,7})"
)
# A line that names a process, and one that has only its number.
_NAMED: Final = (
    ({"lowmemorykiller", "lmkd"}, _LMKD, Kind.LMK_KILL),
    ({"ActivityManager"}, _FORCE_STOP, Kind.SYSTEM_KILL),
    ({"ActivityManager"}, _KILLING, Kind.SYSTEM_KILL),
)
_NUMBERED: Final = (
    ("killinfo", _KILLINFO, Kind.LMK_KILL),
    ("Zygote", _EXITED, Kind.PROCESS_EXIT),
    ("libc", _FATAL, Kind.NATIVE_CRASH),
)
# Chromium names the main thread of each kind of process.
_THREADS: Final = {"CrRendererMain": "renderer", "CrGpuMain": "gpu", "CrBrowserMain": "browser"}


def role_of(process: str, packages: Sequence[str]) -> str:
    """What a process is for the browser: "browser", "renderer", "gpu", "utility", "" for none.

    Chrome's services are named in its manifest (`PrivilegedProcessService`,
    `SandboxedProcessService`); the GPU runs in a privileged process, as some utilities do, and
    renderers in sandboxed ones. A WebView's browser is the app, its renderers are the provider's.

    Args:
        process: its name, such as `com.android.chrome:sandboxed_process0:...`.
        packages: of the browser; that of the app first.
    """
    package, _, service = process.partition(":")
    if package not in packages:
        return "utility" if any(process == f"{name}_zygote" for name in packages) else ""
    if not service:
        return "browser" if package == packages[0] else "utility"
    if service.startswith("sandboxed_process"):
        return "renderer"
    return "gpu" if service.startswith("privileged_process") else "utility"


def read_log_line(
    line: LogLine, packages: Sequence[str], role_of_pid: Callable[[int], str]
) -> Said | None:
    """What one line says about a process of the browser; `None` when it says nothing.

    Args:
        line: of the log.
        packages: of the browser, see `role_of`.
        role_of_pid: the role of a process that lives or lived in this trial, "" for others.
    """
    if line.tag == "Zygote" and "because system server" in line.message:
        return Kind.REBOOTED, {"line": str(line)[:_TEXT]}
    for tags, pattern, kind in _NAMED:
        if line.tag in tags and (said := _named(pattern, kind, line, packages)):
            return said
    for tag, pattern, kind in _NUMBERED:
        if line.tag == tag:
            return _numbered(pattern, kind, line, role_of_pid)
    # What a page writes to its console is logged as well, but never as an error of the browser.
    if line.priority in "EF" and line.tag in {"chromium", "v8"}:
        return read_stderr_line(line.message)
    return None


def _named(
    pattern: re.Pattern[str], kind: Kind, line: LogLine, packages: Sequence[str]
) -> Said | None:
    found = pattern.match(line.message)
    role = role_of(found["name"], packages) if found else ""
    if found and found.groupdict().get("reason") == _NOT_NEEDED:
        return None
    return (kind, _detail(found, role, line)) if found and role else None


def _numbered(
    pattern: re.Pattern[str], kind: Kind, line: LogLine, role_of_pid: Callable[[int], str]
) -> Said | None:
    found = pattern.match(line.message)
    if found is None:
        return None
    thread = found.groupdict().get("thread") or ""
    role = role_of_pid(int(found["pid"])) or _THREADS.get(thread, "")
    return (kind, _detail(found, role, line)) if role else None


def _detail(found: re.Match[str], role: str, line: LogLine) -> Detail:
    detail: Detail = {"process": role}
    for name, value in found.groupdict().items():
        if value is None or name == "thread":
            continue
        if name in {"pid", "adj", "signal", "code"}:
            detail["exit_code" if name == "code" else name] = int(value)
        elif name == "rss":
            detail["rss_bytes"] = int(value) << 10
        else:
            detail[name] = value[:_TEXT]
    return {**detail, "line": str(line)[:_TEXT]}


def read_exit_record(record: ExitRecord, packages: Sequence[str]) -> Said | None:
    """An exit record as evidence; `None` where it says nothing about the browser."""
    role = role_of(record.process, packages)
    if not role or record.subreason.lower() == _NOT_NEEDED or record.description == _NOT_NEEDED:
        return None
    told: dict[str, JsonValue] = {
        "process": role,
        "name": record.process[:_TEXT],
        "pid": record.pid,
        "reason": record.reason_name,
        "subreason": record.subreason,
        "status": record.status,
        "importance": record.importance,
        "rss_bytes": record.rss_bytes,
        "description": record.description,
        "time": record.timestamp,
    }
    return Kind.EXIT_RECORD, {key: value for key, value in told.items() if value not in {None, ""}}
