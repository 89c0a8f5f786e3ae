"""cgroup v2: one tree. Files: Documentation/admin-guide/cgroup-v2.rst of the kernel.

A group passes controllers on to groups below it only while it holds no process itself (the root
group excepted). A shell's own group holds the shell, so this works where a service manager or a
container has handed over an empty tree, and for root.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.emulation.limits import claims, groups
from harness.emulation.limits.base import Limits, MemoryUse
from harness.emulation.limits.cores import CpuPlan, format_cores, parse_cores, plan_cpus
from harness.emulation.limits.scopes import GroupScope, check_kept, join_prefix, new_id
from harness.emulation.limits.system import (
    PARENT,
    Readings,
    System,
    describe,
    mount_v2,
    own_group_v2,
    write,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_PERIOD_US: Final = 100_000
_US: Final = 1e6


class ScopeV2(GroupScope):
    """One group with the v2 files; also what a systemd scope is, once it runs."""

    def __init__(
        self, claim: claims.Claim, limits: Limits, prefix: tuple[str, ...], system: System
    ) -> None:
        super().__init__(claim, limits, prefix, system)
        self._files = Readings(claim.record.groups[0])
        self._largest = 0

    def oom_kills(self) -> int:
        """Kernel kills in this group and in groups below it."""
        return self._files.keyed("memory.events").get("oom_kill", 0)

    def memory(self) -> MemoryUse:
        """What is charged to the group."""
        current = self._files.number("memory.current") or 0
        self._largest = max(self._largest, current)
        peak = self._files.number("memory.peak")
        stat = self._files.keyed("memory.stat")
        return MemoryUse(
            current=current,
            peak=self._largest if peak is None else peak,
            unreclaimable=stat.get("anon", 0) + stat.get("shmem", 0),
            peak_sampled=peak is None,
        )

    def cpu_seconds(self) -> float:
        """CPU time of the group."""
        return self._files.keyed("cpu.stat").get("usage_usec", 0) / _US

    def throttled_seconds(self) -> float | None:
        """Time that the quota held the group back; None where the cpu controller is off."""
        throttled = self._files.keyed("cpu.stat").get("throttled_usec")
        return None if throttled is None else throttled / _US

    def _close_readings(self) -> None:
        # Reading keeps what is read: this is what the scope says after its end.
        self.oom_kills(), self.memory(), self.cpu_seconds()
        self._files.close()


class CgroupV2:
    """Groups below `home`, the own group unless another is given."""

    name = "cgroup-v2"

    def __init__(self, system: System | None = None, home: Path | None = None) -> None:
        """Find the own group.

        Raises:
            UserError: there is no v2 tree, or it has no memory controller here.
        """
        self._system = system or System()
        self._home = home or own_group_v2(self._system)
        try:
            self._controllers = set((self._home / "cgroup.controllers").read_text("utf-8").split())
        except OSError as error:
            raise UserError(describe(error)) from error
        if "memory" not in self._controllers:
            raise UserError(f"{self._home} has no memory controller")

    def scope(self, name: str, limits: Limits) -> ScopeV2:
        """A fresh group with these limits.

        Raises:
            UserError: the limits cannot be set, and why. Nothing is left behind.
        """
        identity = new_id(name)
        directory = self._home / PARENT / identity
        with claims.making():
            plan = self._plan(limits)
            record = claims.Record(
                id=identity, limiter=self.name, owner=os.getpid(), groups=(directory,)
            )
            claim = claims.claim(record)
            problem = self._make(directory, limits, plan)
        if problem is not None:
            groups.end(claim, self._system)
            raise problem
        return ScopeV2(claim, limits, join_prefix([directory]), self._system)

    def _plan(self, limits: Limits) -> CpuPlan:
        allowed: set[int] = set()
        taken: list[int] = []
        if limits.cpus is not None:
            allowed = os.sched_getaffinity(0)
            with suppress(OSError):
                effective = self._home / "cpuset.cpus.effective"
                allowed &= parse_cores(effective.read_text("utf-8"))
            for file in (self._home / PARENT).glob("*/cpuset.cpus"):
                with suppress(OSError):
                    taken += parse_cores(file.read_text("utf-8"))
        return plan_cpus(
            limits.cpus,
            processors=limits.processors,
            allowed=allowed,
            taken=taken,
            controllers=self._controllers,
        )

    def _make(self, directory: Path, limits: Limits, plan: CpuPlan) -> UserError | None:
        """Make and fill the group; the error where that failed."""
        needed = ["memory"]
        needed += ["cpuset"] if plan.cores else []
        needed += ["cpu"] if plan.quota else []
        try:
            enable(self._home, needed)
            with suppress(FileExistsError):
                self._system.make(directory.parent)
            enable(directory.parent, needed)
            self._system.make(directory)
            if limits.memory_bytes is not None:
                _limit_memory(directory, limits.memory_bytes)
            if plan.cores:
                write(directory / "cpuset.cpus", format_cores(plan.cores))
            if plan.quota:
                quota = round(plan.quota * _PERIOD_US)
                write(directory / "cpu.max", f"{quota} {_PERIOD_US}")
        except OSError as error:
            return UserError(
                describe(error),
                "run as root, delegate a group to this user, or use a profile without limits",
            )
        except UserError as error:
            return error
        return None


def ancestors(system: System) -> Iterator[Path]:
    """The groups above the own one, nearest first, as far as they are visible.

    Raises:
        UserError: no v2 tree is mounted.
    """
    top, home = mount_v2(system).point, own_group_v2(system)
    while home not in (top, home.parent):
        home = home.parent
        yield home


def enable(group: Path, controllers: Collection[str]) -> None:
    """Pass these controllers on to the groups below `group`. They stay on afterwards.

    Raises:
        UserError: the group holds processes itself.
        OSError: it may not be written, or lacks the controller.
    """
    file = group / "cgroup.subtree_control"
    for controller in sorted(set(controllers) - set(file.read_text("utf-8").split())):
        try:
            write(file, f"+{controller}")
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise UserError(
                f"{group} holds processes itself, and cgroup v2 then passes no controller on",
                "start in a group of its own: systemd-run --scope -p Delegate=yes <command>, "
                f"or move its processes to a group below it (mkdir {group}/main)",
            ) from error


def _limit_memory(directory: Path, size: int) -> None:
    limit = directory / "memory.max"
    write(limit, str(size))
    kept = limit.read_text("utf-8").strip()
    check_kept(size, int(kept) if kept.isdecimal() else None)
    # Missing where the kernel has no swap.
    with suppress(FileNotFoundError):
        write(directory / "memory.swap.max", "0")
    # One process dies, as on a device, not the whole browser; 0 is the default of a new group.
    with suppress(FileNotFoundError):
        write(directory / "memory.oom.group", "0")
