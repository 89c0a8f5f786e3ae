"""`dumpsys activity ...`, `activity exit-info`, `meminfo`.

Sources: ActivityManagerService.java, AppExitInfoTracker.java, ApplicationExitInfo.java and
ActivityThread.java of AOSP.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.dumps import memory_kilobytes
from harness.emulation.phone.android.state import SUBREASONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.android.state import Exit, Process

_EXIT_INFO_API: Final = 30


def activity(phone: Phone, words: Sequence[str]) -> str | None:
    """`dumpsys activity`; `None` for a part that is not known."""
    rest = [word for word in words if not word.startswith("-")]
    part = rest[0] if rest else "activities"
    package = rest[1] if len(rest) > 1 else None
    if part == "exit-info" and phone.state.api >= _EXIT_INFO_API:
        return exit_info(phone, package)
    if part in {"activities", "a", "top", "recents", "r", "starter"}:
        return _activities(phone)
    if part in {"services", "s", "service"}:
        return _services(phone, package)
    if part in {"processes", "p", "lru", "oom", "o"}:
        return _processes(phone, package)
    if part in {"broadcasts", "b", "intents", "i", "permissions", "settings"}:
        return f"ACTIVITY MANAGER {part.upper()} (dumpsys activity {part})\n  (nothing)\n"
    return None


def size(number: float) -> str:
    """A size as `DebugUtils.printSizeValue` prints it: `1.9GB`, `112MB`, `0.00`."""
    suffix = ""
    for unit in ("KB", "MB", "GB", "TB"):
        if number <= 900:  # noqa: PLR2004 - the source's own number
            break
        number, suffix = number / 1024, unit
    digits = 2 if number < 1 else 1 if number < 10 else 0  # noqa: PLR2004
    return f"{number:.{digits}f}{suffix}"


def exit_info(phone: Phone, package: str | None) -> str:
    """`dumpsys activity exit-info [PACKAGE]`, newest first."""
    head = (
        "ACTIVITY MANAGER PROCESS EXIT INFO (dumpsys activity exit-info)\n"
        f"Last Timestamp of Persistence Into Persistent Storage: {_moment(phone.state.booted)}\n"
    )
    names = [package] if package is not None else sorted(phone.state.exits)
    return head + "".join(_exits(phone, name) for name in names if name in phone.state.exits)


def _exits(phone: Phone, package: str) -> str:
    installed = phone.state.packages.get(package)
    uid = installed.uid if installed else 0
    text = f"  package: {package}\n    Historical Process Exit for uid={uid}\n"
    for number, item in enumerate(phone.state.exits[package]):
        text += _exit(number, item, uid)
    return text


def _exit(number: int, item: Exit, uid: int) -> str:
    subreason = SUBREASONS.get(item.subreason, "UNKNOWN")
    return (
        f"        ApplicationExitInfo #{number}:\n"
        f"          timestamp={_moment(item.at)} pid={item.pid} realUid={item.uid} "
        f"packageUid={uid} definingUid={uid} user=0\n"
        f"          process={item.process} reason={int(item.reason)} ({item.reason.label}) "
        f"subreason={item.subreason} ({subreason}) status={item.status}\n"
        f"          importance={item.importance} pss={size(item.pss)} rss={size(item.rss)} "
        f"description={item.description or 'null'} state=empty trace={item.trace or 'null'}\n"
    )


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}"


def _activities(phone: Phone) -> str:
    shown = phone.resumed
    record = f"ActivityRecord{{1a2b3c4 u0 {shown} t42}}"
    # The name of the field changed with Android 10 (mResumedActivity, topResumedActivity).
    return (
        "ACTIVITY MANAGER ACTIVITIES (dumpsys activity activities)\n"
        "Display #0 (activities from top to bottom):\n"
        "  * Task{9f8e7d6 #42 type=standard}\n"
        f"    topResumedActivity={record}\n"
        f"    * Hist  #0: {record}\n"
        f"      packageName={shown.partition('/')[0]}\n"
        f"  mResumedActivity: {record}\n"
        f"  ResumedActivity: {record}\n"
        f"  mFocusedApp={record}\n"
    )


def _services(phone: Phone, package: str | None) -> str:
    head = "ACTIVITY MANAGER SERVICES (dumpsys activity services)\n"
    running = [
        name
        for name, app in phone.apps.items()
        if app.pid is not None and (package is None or package in name)
    ]
    if not running:
        return f"{head}  (nothing)\n"
    return f"{head}  User 0 active services:\n" + "".join(
        f"  * ServiceRecord{{5f1a2b3 u0 {name}/.ForegroundService c:{name}}}\n"
        f"    intent={{cmp={name}/.ForegroundService}}\n"
        f"    packageName={name}\n    processName={name}\n"
        "    isForeground=true foregroundId=1\n"
        for name in running
    )


def _processes(phone: Phone, package: str | None) -> str:
    text = (
        "ACTIVITY MANAGER RUNNING PROCESSES (dumpsys activity processes)\n  All known processes:\n"
    )
    for item in phone.processes():
        if package is None or item.package == package:
            text += (
                f"  *APP* UID {item.uid} ProcessRecord{{7a6b5c4 {item.pid}:{item.name}/u0}}\n"
                f"    user #0 uid={item.uid}\n    pid={item.pid}\n"
                "    oom adj: max=1001 curRaw=0 setRaw=0 cur=0 set=0\n"
            )
    return text


def meminfo(phone: Phone, words: Sequence[str]) -> str | None:
    """`dumpsys meminfo [PACKAGE | PID]`; sizes in kB."""
    uptime = int((time.time() - phone.state.booted) * 1000)
    wanted = [word for word in words if not word.startswith("-")]
    if "--package" in words or wanted:
        name = wanted[0] if wanted else ""
        found = [
            item
            for item in phone.processes()
            if name in {item.name, item.package, str(item.pid)} and item.kind != "zygote"
        ]
        if not found:
            return f"No process found for: {name}\n"
        head = f"Applications Memory Usage (in Kilobytes):\nUptime: {uptime} Realtime: {uptime}\n"
        return head + "".join(_process_memory(phone, item) for item in found)
    return _all_memory(phone, uptime)


def _process_memory(phone: Phone, item: Process) -> str:
    pss, rss = item.pss >> 10, item.rss >> 10
    head = f"\n** MEMINFO in pid {item.pid} [{item.name}] **\n"
    if phone.state.api < 31:  # noqa: PLR2004 - the summary got an RSS column with Android 12
        return (
            f"{head} App Summary\n                       Pss(KB)\n"
            f"                        ------\n           Java Heap:        0\n"
            f"         Native Heap: {pss:8}\n\n"
            f"               TOTAL: {pss:8}       TOTAL SWAP PSS:        0\n"
        )
    return (
        f"{head} App Summary\n"
        "                       Pss(KB)                        Rss(KB)\n"
        "                        ------                         ------\n"
        "           Java Heap:        0                              0\n"
        f"         Native Heap: {pss:8}                       {rss:8}\n"
        "                Code:        0                              0\n"
        "               Stack:        0                              0\n"
        "            Graphics:        0                              0\n\n"
        f"           TOTAL PSS: {pss:8}            TOTAL RSS: {rss:8}      "
        "TOTAL SWAP PSS:        0\n"
    )


def _all_memory(phone: Phone, uptime: int) -> str:
    profile, used = phone.place.profile, phone.group.used()
    memory = memory_kilobytes(profile, used, phone.state.app_memory)
    processes = sorted(phone.processes(), key=lambda item: -item.pss)
    rows = "".join(
        f"    {item.pss >> 10 or item.rss >> 10:>9,}K: {item.name} (pid {item.pid})\n"
        for item in processes
    )
    total, free = memory["MemTotal"], memory["MemAvailable"]
    return (
        "Applications Memory Usage (in Kilobytes):\n"
        f"Uptime: {uptime} Realtime: {uptime}\n\nTotal PSS by process:\n{rows}\n"
        f"Total RAM: {total:>9,}K (status normal)\n"
        f" Free RAM: {free:>9,}K\n"
        f" Used RAM: {total - free:>9,}K\n"
        f" Lost RAM: {0:>9,}K\n"
    )
