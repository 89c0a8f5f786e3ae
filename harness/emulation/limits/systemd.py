"""A transient systemd scope: limits for a user who may write no group himself.

Properties: systemd.resource-control(5), systemd.scope(5), systemd-run(1). systemd-run becomes the
command, so the browser stays the caller's child and keeps its pipes. The scope is an ordinary v2
group, found from /proc/<pid>/cgroup of a first process, and is read like one.

Until version 252 systemd ends a scope (SIGTERM to all) when the kernel has killed one of its
processes; since 253 `OOMPolicy=continue` forbids it. Where the scope is gone before the count was
read, systemd's own result of the unit says that it was an OOM.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from harness.emulation.limits import claims
from harness.emulation.limits.base import Limits
from harness.emulation.limits.cores import CpuPlan, format_cores, plan_cpus
from harness.emulation.limits.scopes import check_kept, new_id
from harness.emulation.limits.system import (
    PARENT,
    System,
    describe,
    mount_v2,
    parse_membership,
    visible,
)
from harness.emulation.limits.v2 import ScopeV2
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

_TRIAL_BYTES: Final = 64 << 20
_TIMEOUT_S: Final = 10.0
_OOM_POLICY_SINCE: Final = 253


class SystemdScope(ScopeV2):
    """A scope unit. It exists from its first process to its last."""

    def __init__(
        self,
        claim: claims.Claim,
        limits: Limits,
        prefix: tuple[str, ...],
        system: System,
        show_result: tuple[str, ...],
    ) -> None:
        super().__init__(claim, limits, prefix, system)
        self._show_result = show_result
        self._ended_in_oom: bool | None = None

    def oom_kills(self) -> int:
        """Kernel kills in the scope; at least 1 where systemd ended it for that."""
        kills = super().oom_kills()
        seen = self._files.text("memory.events")
        if kills or not seen or self._files.directory.exists():
            return kills
        if self._ended_in_oom is None:
            self._ended_in_oom = _output(self._show_result) == "oom-kill"
        return int(self._ended_in_oom)


class SystemdRun:
    """`systemd-run --scope`, with `--user` for everybody but root."""

    name = "systemd-run"

    def __init__(self, system: System | None = None) -> None:
        """Start one tiny scope, and learn where scopes live and which limits hold.

        Raises:
            UserError: there is no systemd, it starts no scope, or its scopes have no memory limit.
        """
        self._system = system or System()
        self._manager = () if os.getuid() == 0 else ("--user",)
        if shutil.which("systemd-run") is None:
            raise UserError("there is no systemd-run")
        version = re.search(r"\d+", _output(("systemd-run", "--version")))
        self._version = int(version[0]) if version else 0
        self._slice, self._controllers = self._try_one()

    def scope(self, name: str, limits: Limits) -> SystemdScope:
        """A scope that starts with the first process behind its prefix.

        Raises:
            UserError: the limits cannot be set, and why.
        """
        identity = new_id(f"{PARENT}-{name}")
        unit = f"{identity}.scope"
        plan = plan_cpus(
            limits.cpus,
            processors=limits.processors,
            allowed=os.sched_getaffinity(0),
            taken=(),
            controllers=self._controllers,
        )
        record = claims.Record(
            id=identity,
            limiter=self.name,
            owner=os.getpid(),
            groups=(self._slice / unit,),
        )
        return SystemdScope(
            claims.claim(record),
            limits,
            self._prefix(unit, limits, plan),
            self._system,
            ("systemctl", *self._manager, "show", "--value", "-p", "Result", unit),
        )

    def _prefix(self, unit: str, limits: Limits, plan: CpuPlan) -> tuple[str, ...]:
        properties = ["MemoryAccounting=yes", "CPUAccounting=yes"]
        if limits.memory_bytes is not None:
            properties += [f"MemoryMax={limits.memory_bytes}", "MemorySwapMax=0"]
        if plan.cores:
            properties.append(f"AllowedCPUs={format_cores(plan.cores)}")
        if plan.quota:
            properties.append(f"CPUQuota={plan.quota * 100:g}%")
        if self._version >= _OOM_POLICY_SINCE:
            properties.append("OOMPolicy=continue")
        options = [word for one in properties for word in ("-p", one)]
        return (
            "systemd-run", *self._manager, "--scope", "--quiet", f"--unit={unit}", *options, "--",
        )  # fmt: skip

    def _try_one(self) -> tuple[Path, frozenset[str]]:
        """Where scopes live, and the controllers they have."""
        unit = f"{new_id(f'{PARENT}-trial')}.scope"
        prefix = self._prefix(unit, Limits(memory_bytes=_TRIAL_BYTES), CpuPlan())
        # cat says where it is, then stays until its input is closed.
        command = [*prefix, "cat", str(self._system.proc / "cgroup"), "-"]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            timer = threading.Timer(_TIMEOUT_S, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                lines = iter(process.stdout.readline, "")
                path = next((line[3:].strip() for line in lines if line.startswith("0::")), None)
                if path is None:
                    _, errors = process.communicate()
                    reason = errors.strip() or "it says nothing"
                    raise UserError(f"systemd-run starts no scope: {reason}")
                return self._inspect(path, unit)
            finally:
                timer.cancel()
                process.kill()

    def _inspect(self, path: str, unit: str) -> tuple[Path, frozenset[str]]:
        membership = parse_membership(f"0::{path}\n")
        directory = visible(mount_v2(self._system), membership.get("", "/"))
        if directory.name != unit:
            raise UserError(f"the scope {unit} is not visible in the v2 tree (found {path})")
        try:
            kept = (directory / "memory.max").read_text("utf-8").strip()
            controllers = (directory / "cgroup.controllers").read_text("utf-8").split()
        except OSError as error:
            raise UserError(f"a scope has no memory limit: {describe(error)}") from error
        check_kept(_TRIAL_BYTES, int(kept) if kept.isdecimal() else None)
        return directory.parent, frozenset(controllers)


def _output(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
