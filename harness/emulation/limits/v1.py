"""cgroup v1: memory, cpuset, cpu and cpuacct, each in its own tree or mounted together.

Files: Documentation/admin-guide/cgroup-v1/{memory,cpusets,cpuacct}.rst and scheduler/sched-bwc.rst
of the kernel. `memory.failcnt` is not read: it stayed 0 through real OOM kills.
"""

from __future__ import annotations

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
    keyed,
    own_groups_v1,
    write,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PERIOD_US: Final = 100_000
_NS: Final = 1e9


class ScopeV1(GroupScope):
    """One group in each tree; `directories` by controller."""

    def __init__(
        self,
        claim: claims.Claim,
        limits: Limits,
        system: System,
        directories: Mapping[str, Path],
    ) -> None:
        super().__init__(claim, limits, join_prefix(claim.record.groups), system)
        self._readings = {name: Readings(path) for name, path in directories.items()}

    def oom_kills(self) -> int:
        """Kernel kills in this group (Linux 4.13 and later say so)."""
        return self._readings["memory"].keyed("memory.oom_control").get("oom_kill", 0)

    def memory(self) -> MemoryUse:
        """What is charged to the group."""
        files = self._readings["memory"]
        stat = files.keyed("memory.stat")
        return MemoryUse(
            current=files.number("memory.usage_in_bytes") or 0,
            peak=files.number("memory.max_usage_in_bytes") or 0,
            unreclaimable=stat.get("total_rss", 0) + stat.get("total_shmem", 0),
        )

    def cpu_seconds(self) -> float:
        """CPU time of the group."""
        return (self._readings["cpuacct"].number("cpuacct.usage") or 0) / _NS

    def throttled_seconds(self) -> float | None:
        """Time that the quota held the group back; None where no quota is set."""
        if "cpu" not in self._readings:
            return None
        return self._readings["cpu"].keyed("cpu.stat").get("throttled_time", 0) / _NS

    def _close_readings(self) -> None:
        # Reading keeps what is read: this is what the scope says after its end.
        self.oom_kills(), self.memory(), self.cpu_seconds(), self.throttled_seconds()
        for files in self._readings.values():
            files.close()


class CgroupV1:
    """Groups below the own group of each v1 controller."""

    name = "cgroup-v1"

    def __init__(self, system: System | None = None) -> None:
        """Find the own groups.

        Raises:
            UserError: memory or cpuacct is not a v1 controller here, or the kernel is too old.
        """
        self._system = system or System()
        self._homes = own_groups_v1(self._system)
        for controller in ("memory", "cpuacct"):
            if controller not in self._homes:
                raise UserError(f"the {controller} controller is not mounted as v1")
        control = self._homes["memory"] / "memory.oom_control"
        try:
            counts = "oom_kill" in keyed(control.read_text("utf-8"))
        except OSError as error:
            raise UserError(describe(error)) from error
        if not counts:
            raise UserError(f"{control} does not count kills; Linux 4.13 and later do")

    def scope(self, name: str, limits: Limits) -> ScopeV1:
        """A fresh group with these limits.

        Raises:
            UserError: the limits cannot be set, and why. Nothing is left behind.
        """
        identity = new_id(name)
        with claims.making():
            plan = self._plan(limits)
            controllers = ["memory", "cpuacct"]
            controllers += ["cpuset"] if plan.cores else []
            controllers += ["cpu"] if plan.quota else []
            directories = {
                controller: self._homes[controller] / PARENT / identity
                for controller in controllers
            }
            claim = claims.claim(
                claims.Record(
                    id=identity,
                    limiter=self.name,
                    owner=os.getpid(),
                    groups=tuple(dict.fromkeys(directories.values())),
                )
            )
            problem = self._make(directories, limits, plan)
        if problem is not None:
            groups.end(claim, self._system)
            raise problem
        return ScopeV1(claim, limits, self._system, directories)

    def _plan(self, limits: Limits) -> CpuPlan:
        allowed: set[int] = set()
        taken: list[int] = []
        if limits.cpus is not None:
            allowed = os.sched_getaffinity(0)
        if limits.cpus is not None and "cpuset" in self._homes:
            home = self._homes["cpuset"]
            with suppress(OSError):
                allowed &= parse_cores((home / "cpuset.effective_cpus").read_text("utf-8"))
            for file in (home / PARENT).glob("*/cpuset.cpus"):
                with suppress(OSError):
                    taken += parse_cores(file.read_text("utf-8"))
        return plan_cpus(
            limits.cpus,
            processors=limits.processors,
            allowed=allowed,
            taken=taken,
            controllers=self._homes,
        )

    def _make(
        self, directories: Mapping[str, Path], limits: Limits, plan: CpuPlan
    ) -> UserError | None:
        """Make and fill the groups; the error where that failed."""
        try:
            for directory in dict.fromkeys(directories.values()):
                with suppress(FileExistsError):
                    self._system.make(directory.parent)
                if directory == directories.get("cpuset"):
                    # A new cpuset is empty, and takes no process before it has cores and nodes.
                    _inherit_cpuset(directory.parent)
                self._system.make(directory)
            if "cpuset" in directories:
                _inherit_cpuset(directories["cpuset"])
            if limits.memory_bytes is not None:
                _limit_memory(directories["memory"], limits.memory_bytes)
            if plan.cores:
                write(directories["cpuset"] / "cpuset.cpus", format_cores(plan.cores))
            if plan.quota:
                cpu = directories["cpu"]
                write(cpu / "cpu.cfs_period_us", str(_PERIOD_US))
                write(cpu / "cpu.cfs_quota_us", str(round(plan.quota * _PERIOD_US)))
        except OSError as error:
            return UserError(describe(error), "run as root, or use a profile without limits")
        except UserError as error:
            return error
        return None


def _inherit_cpuset(directory: Path) -> None:
    """Give a new cpuset the cores and memory nodes of the group above it."""
    for name in ("cpus", "mems"):
        file = directory / f"cpuset.{name}"
        if not file.read_text("utf-8").strip():
            above = directory.parent / f"cpuset.effective_{name}"
            write(file, above.read_text("utf-8").strip())


def _limit_memory(directory: Path, size: int) -> None:
    """Limit memory, and memory with swap together, so that no swap hides an OOM."""
    with suppress(FileNotFoundError):
        # Older kernels charge children to the parent only with this, and refuse it once set above.
        if (directory / "memory.use_hierarchy").read_text("utf-8").strip() == "0":
            with suppress(OSError):
                write(directory / "memory.use_hierarchy", "1")
    limit = directory / "memory.limit_in_bytes"
    write(limit, str(size))
    check_kept(size, int(limit.read_text("utf-8")))
    # Missing where the kernel does not account swap; written second, for it may not be the smaller.
    with suppress(FileNotFoundError):
        write(directory / "memory.memsw.limit_in_bytes", str(size))
