"""What Android says when a process ends: the lines, the events, the exit record, the tombstone.

Sources of the forms: lmkd.cpp (`kill_one_process`), com_android_internal_os_Zygote.cpp
(`SigChldHandler`), ActivityManagerService (`appDiedLocked`), ProcessRecord (`killLocked`),
debuggerd (`libdebuggerd/tombstone.cpp`), EventLogTags.logtags of the services.
"""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.state import (
    FIRST_APP_UID,
    FIRST_ISOLATED_UID,
    FORCE_STOP,
    ISOLATED_NOT_NEEDED,
    Exit,
    Process,
    Reason,
)

if TYPE_CHECKING:
    from pathlib import Path

    from harness.emulation.phone.android.state import State

_LOG = logging.getLogger(__name__)

CRASH_SIGNALS: Final = (
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGILL,
    signal.SIGFPE,
    signal.SIGBUS,
)
#: Pids of services that only speak here: numbers that the phone's real processes hardly reach.
LMKD_PID: Final = 32_431
ZYGOTE_PID: Final = 32_702
SYSTEM_SERVER_PID: Final = 32_461
TOMBSTONES: Final = "/data/tombstones"
KEPT_TOMBSTONES: Final = 32
_LMKD_UID: Final = 1069
_THREADS: Final = {"renderer": "CrRendererMain", "gpu": "CrGpuMain", "browser": "CrBrowserMain"}
# Signal, code and their names as debuggerd prints them.
_CODES: Final = {
    signal.SIGSEGV: (1, "SEGV_MAPERR"),
    signal.SIGABRT: (-6, "SI_TKILL"),
    signal.SIGTRAP: (1, "TRAP_BRKPT"),
    signal.SIGILL: (1, "ILL_ILLOPC"),
    signal.SIGFPE: (1, "FPE_INTDIV"),
    signal.SIGBUS: (1, "BUS_ADRALN"),
}


@dataclass(frozen=True, slots=True)
class LowMemory:
    """The memory limit was reached and the kernel killed the process."""

    limit: int


@dataclass(frozen=True, slots=True)
class Signaled:
    """A signal ended the process; one of `CRASH_SIGNALS` is a crash."""

    number: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The process ended by itself."""

    code: int = 0


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """A process of an app's sandbox that its app needs no longer; the everyday end of a tab."""


@dataclass(frozen=True, slots=True)
class ForceStopped:
    """`am force-stop`; `by` is the pid that asked."""

    by: int


Cause = LowMemory | Signaled | Ended | NotNeeded | ForceStopped


def tell(state: State, process: Process, cause: Cause, tombstones: Path) -> Exit:
    """Write everything that Android writes of this death, and keep its exit record."""
    if isinstance(cause, LowMemory):
        item = _low_memory(state, process)
    elif isinstance(cause, Signaled) and cause.number in CRASH_SIGNALS:
        item = _crash(state, process, signal.Signals(cause.number), tombstones)
    elif isinstance(cause, Signaled):
        item = _record(process, Reason.SIGNALED, status=cause.number)
        _zygote(state, process, cause.number)
        _died(state, process)
    elif isinstance(cause, ForceStopped):
        item = _record(
            process,
            Reason.USER_REQUESTED,
            subreason=FORCE_STOP,
            description=f"stop {process.package} due to from pid {cause.by}",
        )
        _killing(state, process, f"stop {process.package} due to from pid {cause.by}")
    elif isinstance(cause, NotNeeded):
        item = _record(
            process,
            Reason.OTHER,
            subreason=ISOLATED_NOT_NEEDED,
            description="isolated not needed",
        )
        _killing(state, process, "isolated not needed")
    else:
        item = _record(process, Reason.EXIT_SELF, status=cause.code)
        how = f"Process {process.pid} exited cleanly ({cause.code})"
        state.log.write("I", "Zygote", how, pid=ZYGOTE_PID, uid=0)
        _died(state, process)
    state.add_exit(item)
    _LOG.info("%s (pid %d) ended: %s", process.name, process.pid, cause)
    return item


def _record(
    process: Process,
    reason: Reason,
    *,
    subreason: int = 0,
    status: int = 0,
    description: str | None = None,
    trace: str | None = None,
) -> Exit:
    return Exit(
        at=time.time(),
        pid=process.pid,
        package=process.package or process.name,
        process=process.name,
        uid=process.uid,
        reason=reason,
        subreason=subreason,
        status=status,
        pss=process.pss,
        rss=process.rss,
        description=description,
        trace=trace,
    )


def _low_memory(state: State, process: Process) -> Exit:
    rss = process.rss >> 10
    reason = "low watermark is breached and swap is low (0kB < 393216kB)"
    state.log.write(
        "I",
        "lowmemorykiller",
        f"Kill '{process.name}' ({process.pid}), uid {process.uid}, oom_score_adj 0 "
        f"to free {rss}kB rss, 0kB swap; reason: {reason}",
        pid=LMKD_PID,
        uid=_LMKD_UID,
    )
    state.log.write(
        "I",
        "killinfo",
        f"[{process.pid},{process.uid},0,0,{rss},4,{65536},{131072},0,4096,20480,0,0,0]",
        pid=LMKD_PID,
        uid=_LMKD_UID,
        buffer="events",
    )
    _zygote(state, process, signal.SIGKILL)
    _died(state, process)
    return _record(process, Reason.LOW_MEMORY, status=signal.SIGKILL)


def _zygote(state: State, process: Process, number: int) -> None:
    try:
        text = signal.strsignal(number)
    except ValueError:
        text = None
    state.log.write(
        "I",
        "Zygote",
        f"Process {process.pid} exited due to signal {number} ({text or 'unknown'})",
        pid=ZYGOTE_PID,
        uid=0,
    )


def _died(state: State, process: Process) -> None:
    state.log.write(
        "I",
        "ActivityManager",
        f"Process {process.name} (pid {process.pid}) has died: fg  TOP ",
        pid=SYSTEM_SERVER_PID,
        buffer="system",
    )
    state.log.write(
        "I",
        "am_proc_died",
        f"[0,{process.pid},{process.name},0,2]",
        pid=SYSTEM_SERVER_PID,
        buffer="events",
    )


def _killing(state: State, process: Process, why: str) -> None:
    package = state.packages.get(process.package or "")
    user = f"u0a{(package.uid if package else process.uid) - FIRST_APP_UID}"
    if process.uid >= FIRST_ISOLATED_UID:
        user += f"i{process.uid - FIRST_ISOLATED_UID}"
    state.log.write(
        "I",
        "ActivityManager",
        f"Killing {process.pid}:{process.name}/{user} (adj 0): {why}",
        pid=SYSTEM_SERVER_PID,
        buffer="system",
    )
    state.log.write(
        "I",
        "am_kill",
        f"[0,{process.pid},{process.name},0,{why},{process.rss >> 10}]",
        pid=SYSTEM_SERVER_PID,
        buffer="events",
    )


def _crash(state: State, process: Process, number: signal.Signals, folder: Path) -> Exit:
    code, name = _CODES[number]
    thread = _THREADS.get(process.kind, process.name[-15:])
    state.log.write(
        "F",
        "libc",
        f"Fatal signal {number} ({number.name}), code {code} ({name}), fault addr 0x0 in tid "
        f"{process.pid} ({thread}), pid {process.pid} ({process.name[-15:]})",
        pid=process.pid,
        uid=process.uid,
        buffer="crash",
    )
    text = _tombstone(state, process, thread, number)
    for line in text.splitlines():
        state.log.write("F", "DEBUG", line, pid=process.pid, uid=process.uid, buffer="crash")
    file = _write_tombstone(folder, text)
    if file is not None:
        where = f"{TOMBSTONES}/{file}"
        said = f"Tombstone written to: {file}"
        state.log.write("E", "tombstoned", said, pid=LMKD_PID + 1, uid=1058)
    else:
        where = None
    state.log.write(
        "I",
        "am_crash",
        f"[{process.pid},0,{process.name},0,Native crash,{signal.strsignal(number)},unknown,0]",
        pid=SYSTEM_SERVER_PID,
        buffer="events",
    )
    _zygote(state, process, number)
    _died(state, process)
    return _record(process, Reason.CRASH_NATIVE, status=number, description="crash", trace=where)


def _tombstone(state: State, process: Process, thread: str, number: signal.Signals) -> str:
    code, name = _CODES[number]
    stamp = time.strftime("%Y-%m-%d %H:%M:%S.000000000+0000", time.gmtime())
    return (
        "*** *** *** *** *** *** *** *** *** *** *** *** *** *** *** ***\n"
        f"Build fingerprint: '{state.properties.get('ro.build.fingerprint', 'unknown')}'\n"
        "Revision: '0'\n"
        "ABI: 'arm64'\n"
        f"Timestamp: {stamp}\n"
        f"Cmdline: {process.name}\n"
        f"pid: {process.pid}, tid: {process.pid}, name: {thread}  >>> {process.name} <<<\n"
        f"uid: {process.uid}\n"
        f"signal {number} ({number.name}), code {code} ({name}), fault addr 0x0000000000000000\n"
        "\nbacktrace:\n"
        "      (a virtual phone has no symbols of Android's Chrome)\n"
    )


def _write_tombstone(folder: Path, text: str) -> str | None:
    """Write `tombstone_NN`, the oldest number when all are taken; `None` where it cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"tombstone_{number:02d}" for number in range(KEPT_TOMBSTONES)]
        free = [name for name in names if not (folder / name).exists()]
        name = free[0] if free else min(names, key=lambda each: (folder / each).stat().st_mtime)
        (folder / name).write_text(text, encoding="utf-8")
    except OSError:
        return None
    return name
