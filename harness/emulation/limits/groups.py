"""Ends of life: everything in a group is killed, and the group removed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from harness.emulation.limits.claims import making
from harness.emulation.limits.system import PARENT, System, describe, write
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from harness.emulation.limits.claims import Claim, Record

DEADLINE_S = 10.0
# A killed process leaves its group when it has given back its memory: milliseconds, for a browser.
_POLL_S = 0.005


def members(groups: Iterable[Path]) -> set[int]:
    """The processes in these groups and in groups below them."""
    pids: set[int] = set()
    for group in groups:
        for file in (group / "cgroup.procs", *group.glob("*/**/cgroup.procs")):
            with contextlib.suppress(OSError):
                pids.update(int(line) for line in file.read_text("utf-8").split())
    return pids


def _kill_once(groups: tuple[Path, ...]) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            write(group / "cgroup.kill", "1")  # v2 since Linux 5.14: all at once, no race
    handles: dict[int, int] = {}
    for pid in members(groups):
        with contextlib.suppress(OSError):
            handles[pid] = os.pidfd_open(pid)
    # Only who is still a member while its handle is open: its PID cannot be another's by now.
    still = members(groups)
    for pid, handle in handles.items():
        with contextlib.suppress(OSError):
            if pid in still:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        os.close(handle)


def kill_all(groups: tuple[Path, ...], deadline: float) -> None:
    """Kill until nothing is left inside; what forks meanwhile is found the next time round.

    Raises:
        UserError: somebody was still alive at `deadline` (of `time.monotonic`).
    """
    while pids := members(groups):
        if time.monotonic() > deadline:
            raise UserError(
                f"processes {sorted(pids)} in {groups[0]} do not die",
                "they hang in the kernel; the group is removed at a later start",
            )
        _kill_once(groups)
        time.sleep(_POLL_S)


def _remove_directory(group: Path, system: System, deadline: float) -> None:
    below = [directory for directory in group.glob("**/") if directory != group]
    for directory in (*sorted(below, key=lambda path: -len(path.parts)), group):
        while True:
            try:
                system.remove(directory)
            except FileNotFoundError:
                break
            except OSError as error:
                # EBUSY for a moment after the last process died.
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise UserError(
                        f"a group cannot be removed: {describe(error)}",
                        "it is tried again at a later start",
                    ) from error
                time.sleep(_POLL_S)
            else:
                break


def _stop_unit(group: Path, deadline: float) -> None:
    """Have systemd drop the unit, and wait until it has removed its directory."""
    manager = () if os.getuid() == 0 else ("--user",)
    for verb in ("stop", "reset-failed"):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ("systemctl", *manager, verb, group.name),
                capture_output=True,
                check=False,
                timeout=DEADLINE_S,
            )
    while group.exists() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def remove_groups(record: Record, system: System) -> None:
    """Kill everything inside, remove the groups, and the common parent when it is empty.

    Raises:
        UserError: a process or a group stays.
    """
    deadline = time.monotonic() + DEADLINE_S
    kill_all(record.groups, deadline)
    for group in record.groups:
        if group.name.endswith(".scope"):
            _stop_unit(group, deadline)
        _remove_directory(group, system, deadline)
    with making():
        for group in record.groups:
            if group.parent.name == PARENT:
                with contextlib.suppress(OSError):
                    system.remove(group.parent)


def end(claim: Claim, system: System) -> None:
    """Remove a claim's groups and forget it; on failure the record stays for the next sweep.

    Raises:
        UserError: a process or a group stays.
    """
    try:
        remove_groups(claim.record, system)
    except BaseException:
        claim.abandon()
        raise
    claim.release()
