"""The memory and CPU files against a fake tree; join, kill and removal against the kernel."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

import pytest

from harness.emulation.limits import Limits, claims, groups
from harness.emulation.limits.scopes import join_prefix, new_id
from harness.emulation.limits.system import PARENT, System, own_group_v2, write
from harness.emulation.limits.v2 import CgroupV2, ancestors, enable
from harness.errors import UserError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.harness.emulation.limits.conftest import FakeTree

    Start = Callable[..., subprocess.Popen[str]]

NEW = {
    "cgroup.controllers": "cpuset cpu memory pids\n",
    "cgroup.procs": "",
    "cgroup.subtree_control": "cpu cpuset memory\n",
    "cpu.max": "max 100000\n",
    "cpu.stat": "usage_usec 2500000\nnr_throttled 3\nthrottled_usec 40000\n",
    "cpuset.cpus": "\n",
    "memory.current": "1000\n",
    "memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\n",
    "memory.max": "max\n",
    "memory.oom.group": "1\n",
    "memory.peak": "3000\n",
    "memory.stat": "anon 600\nfile 300\nshmem 100\n",
    "memory.swap.max": "max\n",
}


@pytest.fixture
def v2(tree: FakeTree) -> FakeTree:
    """A user's session: the process is in /user/session, below a delegated tree."""
    (tree.proc / "mountinfo").write_text(f"3 2 0:9 / {tree.mount} rw - cgroup2 cgroup2 rw\n")
    (tree.proc / "cgroup").write_text("0::/user/session\n")
    tree.new = NEW
    for group in (tree.mount, tree.mount / "user", tree.mount / "user/session"):
        tree.fill(group, NEW)
    return tree


def test_the_limits_are_written(v2: FakeTree) -> None:
    limits = Limits(memory_bytes=64 << 20, cpus=0.5)
    with CgroupV2(v2.system).scope("pixel 8", limits) as scope:
        group = v2.mount / "user/session" / PARENT / scope.id
        assert (group / "memory.max").read_text() == str(64 << 20)
        assert (group / "memory.swap.max").read_text() == "0"
        assert (group / "memory.oom.group").read_text() == "0"
        assert (group / "cpu.max").read_text() == "50000 100000"
        core = (group / "cpuset.cpus").read_text()
        assert int(core) in os.sched_getaffinity(0)
        assert scope.id.startswith("pixel-8-")
        assert scope.limiter == "cgroup-v2"
        assert str(group / "cgroup.procs") in scope.prefix
    assert not (v2.mount / "user/session" / PARENT).exists()


def test_no_limits_write_nothing(v2: FakeTree) -> None:
    with CgroupV2(v2.system).scope("watch", Limits()):
        group = v2.made[-1]
        for name in ("memory.max", "memory.swap.max", "cpu.max", "cpuset.cpus"):
            assert (group / name).read_text() == NEW[name]


def test_the_counters_are_read_and_kept(v2: FakeTree) -> None:
    with CgroupV2(v2.system).scope("run", Limits()) as scope:
        group = v2.made[-1]
        assert scope.oom_kills() == 0
        (group / "memory.events").write_text("max 9\noom 2\noom_kill 2\noom_group_kill 0\n")
        assert scope.oom_kills() == 2
        memory = scope.memory()
        assert (memory.current, memory.peak, memory.unreclaimable) == (1000, 3000, 700)
        assert not memory.peak_sampled
        assert scope.cpu_seconds() == 2.5
        assert scope.throttled_seconds() == 0.04
    assert scope.oom_kills() == 2
    assert scope.memory().peak == 3000


def test_without_a_high_water_mark_the_peak_is_sampled(v2: FakeTree) -> None:
    v2.new = {name: text for name, text in NEW.items() if name != "memory.peak"}
    with CgroupV2(v2.system).scope("run", Limits()) as scope:
        group = v2.made[-1]
        (group / "memory.current").write_text("5000\n")
        assert scope.memory().peak == 5000
        (group / "memory.current").write_text("2000\n")
        memory = scope.memory()
        assert (memory.current, memory.peak, memory.peak_sampled) == (2000, 5000, True)


def test_without_the_cpu_controller_nothing_is_throttled(v2: FakeTree) -> None:
    v2.new = NEW | {"cpu.stat": "usage_usec 1000000\n"}
    with CgroupV2(v2.system).scope("run", Limits()) as scope:
        assert scope.throttled_seconds() is None


def test_without_the_memory_controller_it_is_refused(v2: FakeTree) -> None:
    home = v2.mount / "user/session"
    (home / "cgroup.controllers").write_text("hugetlb\n")
    with pytest.raises(UserError, match="has no memory controller"):
        CgroupV2(v2.system)


def test_the_groups_above_are_named_nearest_first(v2: FakeTree) -> None:
    assert list(ancestors(v2.system)) == [v2.mount / "user", v2.mount]


def test_a_group_that_may_not_be_made_leaves_nothing(v2: FakeTree, state: Path) -> None:
    def refuse(directory: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(directory))

    system = System(proc=v2.proc, make=refuse, remove=v2.remove)
    with pytest.raises(UserError, match=r"Permission denied: .*/tierlab"):
        CgroupV2(system).scope("run", Limits())
    assert not list(state.rglob("*.json"))
    assert not list(state.rglob("*.lock"))


def test_a_limit_that_does_not_stand_is_refused(v2: FakeTree) -> None:
    class Deaf(type(v2)):  # type: ignore[misc]
        """A kernel that ignores what is written."""

        def make(self, directory: Path) -> None:
            super().make(directory)
            (directory / "memory.max").unlink()
            (directory / "memory.max").symlink_to("/dev/null")

    v2.__class__ = Deaf
    with pytest.raises(UserError, match="keeps a memory limit of None bytes"):
        CgroupV2(v2.system).scope("run", Limits(memory_bytes=4096))


# From here on: the kernel's own v2 tree. Killing and joining need no controller.


@pytest.fixture
def kernel() -> Iterator[tuple[claims.Claim, Path]]:
    """A group in the real v2 tree."""
    try:
        home = own_group_v2(System())
    except UserError as error:
        pytest.skip(f"NOT TESTED, {error.problem}")
    if not os.access(home, os.W_OK):
        pytest.skip(f"NOT TESTED, {home} may not be written")
    identity = new_id("test")
    group = home / PARENT / identity
    claim = claims.claim(claims.Record(identity, "cgroup-v2", os.getpid(), (group,)))
    group.mkdir(parents=True)
    yield claim, group
    if group.exists():
        groups.end(claim, System())
    assert not group.exists()


@pytest.mark.integration
def test_real_members_are_killed_and_the_group_goes(
    kernel: tuple[claims.Claim, Path], python: Start
) -> None:
    claim, group = kernel
    (group / "inner").mkdir()
    program = "import sys; print('in', flush=True); sys.stdin.read()"
    outer = python(program, prefix=join_prefix([group]))
    inner = python(program, prefix=join_prefix([group / "inner"]))
    for process in (outer, inner):
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
    assert groups.members([group]) == {outer.pid, inner.pid}
    groups.end(claim, System())
    assert (outer.wait(), inner.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
    assert not group.exists()


@pytest.mark.integration
def test_a_real_group_with_processes_passes_no_controller_on(
    kernel: tuple[claims.Claim, Path], python: Start
) -> None:
    _, group = kernel
    above = (group.parent.parent, group.parent)
    available = (above[0] / "cgroup.controllers").read_text().split()
    # A threaded controller (cpu, cpuset, pids) may be refused in another way.
    usable = [name for name in available if name in {"hugetlb", "memory", "io"}]
    if not usable:
        pytest.skip(f"NOT TESTED, {above[0]} has only the controllers {available}")
    before = (above[0] / "cgroup.subtree_control").read_text().split()
    try:
        for directory in above:
            enable(directory, usable[:1])
    except (UserError, OSError) as error:
        pytest.skip(f"NOT TESTED, no controller can be passed on here: {error}")
    try:
        process = python("import sys; print(flush=True); sys.stdin.read()",
                         prefix=join_prefix([group]))  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(UserError, match="holds processes itself") as caught:
            enable(group, usable[:1])
        assert "Delegate=yes" in caught.value.next_step
        assert (group / "cgroup.subtree_control").read_text().split() == []
    finally:
        write(group.parent / "cgroup.subtree_control", f"-{usable[0]}")
        if usable[0] not in before:
            write(above[0] / "cgroup.subtree_control", f"-{usable[0]}")
