"""Which limiter works here, found by trying; and what dead owners left behind."""

from __future__ import annotations

import logging
import subprocess
import threading
from typing import TYPE_CHECKING, Final

from harness.emulation.limits import claims, groups
from harness.emulation.limits.base import Limiter, Limits, Scope
from harness.emulation.limits.system import System
from harness.emulation.limits.systemd import SystemdRun
from harness.emulation.limits.v1 import CgroupV1
from harness.emulation.limits.v2 import CgroupV2, ancestors
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOG = logging.getLogger(__name__)
_TRIAL: Final = Limits(memory_bytes=64 << 20)
_TIMEOUT_S: Final = 10.0


def find_limiter(system: System | None = None) -> Limiter:
    """The first limiter that makes a group, takes a process into it, and removes it again.

    Raises:
        UserError: none does; every reason is told.
    """
    reasons = []
    for name, make in _candidates(system or System()):
        try:
            limiter = make()
            prove(limiter)
        except UserError as error:
            reasons.append(f"{name}: {error.problem}")
        else:
            return limiter
    raise UserError(
        "memory and CPU limits cannot be set here:\n" + "\n".join(f"  - {r}" for r in reasons),
        "run as root, or on a machine where systemd runs for this user "
        "(loginctl enable-linger), or use a profile without limits",
    )


def _candidates(system: System) -> Iterator[tuple[str, Callable[[], Limiter]]]:
    yield "cgroup-v1", lambda: CgroupV1(system)
    yield "cgroup-v2", lambda: CgroupV2(system)
    yield "systemd-run", lambda: SystemdRun(system)
    # Last: above the own group another manager may think itself alone.
    try:
        above = list(ancestors(system))
    except UserError:
        return
    for home in above:
        yield f"cgroup-v2 in {home}", lambda home=home: CgroupV2(system, home)  # type: ignore[misc]


def prove(limiter: Limiter) -> None:
    """Run one small process inside a scope of this limiter.

    Raises:
        UserError: the scope could not be made, the process did not join it, or it stayed.
    """
    with (
        limiter.scope("trial", _TRIAL) as scope,
        subprocess.Popen(
            [*scope.prefix, "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        timer = threading.Timer(_TIMEOUT_S, process.kill)
        timer.start()
        try:
            inside = _joined(process, scope)
        finally:
            timer.cancel()
            process.kill()
        _, errors = process.communicate()
        if not inside:
            said = errors.decode(errors="replace").strip() or "it says nothing"
            raise UserError(f"a process could not join the group: {said}")


def _joined(process: subprocess.Popen[bytes], scope: Scope) -> bool:
    """Whether the process became `cat` (it echoes) and is in the scope."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return process.stdout.readline() == b"\n" and process.pid in scope.pids()


def observe(name: str, system: System | None = None) -> Scope | None:
    """A scope without limits, for its evidence; None where no group can be had."""
    try:
        return find_limiter(system).scope(name, Limits())
    except UserError as error:
        _LOG.info("no group to observe %s: %s", name, error)
        return None


def sweep(system: System | None = None) -> list[str]:
    """Remove the groups of dead owners and what still runs inside; the ids of what was removed.

    A group that does not go is logged and left for the next sweep.

    Raises:
        UserError: the state directory cannot be used.
    """
    removed = []
    for claim in claims.dead():
        try:
            groups.end(claim, system or System())
        except UserError as error:
            _LOG.warning("a group of process %d stays: %s", claim.record.owner, error)
        else:
            removed.append(claim.record.id)
    return removed
