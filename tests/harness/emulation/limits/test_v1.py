"""Against the kernel: every test here makes real groups and kills real (tiny) processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.emulation.limits import Limits, find_limiter, observe, sweep
from harness.emulation.limits.find import prove
from harness.emulation.limits.scopes import new_id
from harness.emulation.limits.system import System, own_groups_v1
from harness.errors import UserError
from tests.harness.emulation.limits.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.emulation.limits.v1 import CgroupV1, ScopeV1

    Start = Callable[..., subprocess.Popen[str]]

# One worker: whoever pins cores sees the pinned cores of the others.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cgroup-v1")]

CAP = Limits(memory_bytes=100 << 20)
MiB = 1 << 20

# Says who it is, does what it was told, waits.
WAIT = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"
EAT = "block = bytearray(int(__import__('sys').argv[1]) << 20); print(len(block))"
# A child and a grandchild that outlive their parents' attention.
FAMILY = """
import subprocess, sys
child = "import subprocess, sys; subprocess.Popen(['sleep', '600']); print(flush=True); input()"
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)
process.stdout.readline()
print("ready", flush=True)
sys.stdin.read()
"""
OWNER = """
import subprocess, sys
from harness.emulation.limits import Limits, find_limiter
scope = find_limiter().scope("owner", Limits(memory_bytes=100 << 20, cpus=0.5))
child = subprocess.Popen([*scope.prefix, "sh", "-c", "echo in; exec sleep 600"],
                         stdout=subprocess.PIPE)
child.stdout.readline()
print(scope.id, child.pid, flush=True)
sys.stdin.read()
"""


def own_groups_v1_here() -> dict[str, Path]:
    return own_groups_v1(System())


def groups_left(identity: str) -> list[Path]:
    """What is left of one scope, in any tree."""
    homes = set(own_groups_v1_here().values())
    return [path for home in homes for path in home.glob(f"tierlab/{identity}")]


@pytest.fixture(autouse=True)
def nothing_is_left(v1: CgroupV1, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[str] = []

    def remember(name: str) -> str:
        made.append(new_id(name))
        return made[-1]

    monkeypatch.setattr("harness.emulation.limits.v1.new_id", remember)
    yield
    assert v1.name == "cgroup-v1"
    assert [path for identity in made for path in groups_left(identity)] == []


def started(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def directory(scope: ScopeV1, controller: str) -> Path:
    return own_groups_v1_here()[controller] / "tierlab" / scope.id


def test_it_is_found_and_works(v1: CgroupV1) -> None:
    assert find_limiter().name == v1.name
    prove(v1)


def test_a_process_over_the_limit_is_killed_and_counted(v1: CgroupV1, python: Start) -> None:
    with v1.scope("oom", CAP) as scope:
        assert scope.oom_kills() == 0
        process = python(EAT, "300", prefix=scope.prefix)
        assert process.wait() == -signal.SIGKILL
        assert scope.oom_kills() == 1
        memory = scope.memory()
        assert memory.peak == CAP.memory_bytes
        assert memory.current < memory.peak
        assert scope.cpu_seconds() > 0
    assert scope.oom_kills() == 1
    assert scope.memory().peak == CAP.memory_bytes


def test_swap_does_not_hide_the_oom(v1: CgroupV1) -> None:
    with v1.scope("swap", CAP) as scope:
        group = directory(scope, "memory")
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            if (group / name).exists():
                assert int((group / name).read_text()) == CAP.memory_bytes
        assert (group / "memory.use_hierarchy").read_text().strip() == "1"


def test_a_process_under_the_limit_lives(v1: CgroupV1, python: Start) -> None:
    with v1.scope("fits", CAP) as scope:
        process = python(EAT, "40", prefix=scope.prefix)
        assert process.wait() == 0
        assert scope.oom_kills() == 0
        assert 40 * MiB < scope.memory().peak < 100 * MiB


def test_a_kill_by_hand_is_not_an_oom(v1: CgroupV1, python: Start) -> None:
    with v1.scope("kill", CAP) as scope:
        process = python(WAIT, prefix=scope.prefix)
        assert started(process) == str(process.pid)
        process.kill()
        process.wait()
        assert scope.oom_kills() == 0


def test_unreclaimable_memory_is_what_the_processes_hold(v1: CgroupV1, python: Start) -> None:
    hold = "import sys; block = bytearray(50 << 20); print('held', flush=True); sys.stdin.read()"
    with v1.scope("hold", CAP) as scope:
        process = python(hold, prefix=scope.prefix)
        assert started(process) == "held"
        assert 50 * MiB <= scope.memory().unreclaimable <= scope.memory().current


def test_the_command_keeps_its_pid_and_its_arguments(v1: CgroupV1) -> None:
    show = "import os, sys; print(os.getpid(), sys.argv[1:])"
    with v1.scope("argv", Limits()) as scope:
        process = subprocess.Popen(
            [*scope.prefix, sys.executable, "-c", show, "--", "a b", "$(x)", ""],
            stdout=subprocess.PIPE,
            text=True,
        )
        out, _ = process.communicate()
    assert out == f"{process.pid} ['--', 'a b', '$(x)', '']\n"


def test_whole_cores_are_pinned(v1: CgroupV1, python: Start) -> None:
    show = "import os; print(sorted(os.sched_getaffinity(0)))"
    with v1.scope("cores", Limits(cpus=1)) as scope:
        process = python(show, prefix=scope.prefix)
        out, _ = process.communicate()
        kept = (directory(scope, "cpuset") / "cpuset.cpus").read_text().strip()
        assert out == f"[{kept}]\n"
        assert scope.throttled_seconds() is None


@pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="NOT TESTED, two groups side by side need two cores"
)
def test_two_scopes_get_different_cores(v1: CgroupV1) -> None:
    with v1.scope("one", Limits(cpus=1)) as one, v1.scope("two", Limits(cpus=1)) as two:
        cores = [(directory(scope, "cpuset") / "cpuset.cpus").read_text() for scope in (one, two)]
    assert cores[0] != cores[1]


def test_a_fraction_throttles(v1: CgroupV1, python: Start) -> None:
    # Uses far more CPU time than one period's quota (25 ms): it must be held back.
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with v1.scope("quota", Limits(cpus=0.25)) as scope:
        group = directory(scope, "cpu")
        period = int((group / "cpu.cfs_period_us").read_text())
        assert int((group / "cpu.cfs_quota_us").read_text()) == period / 4
        assert python(burn, prefix=scope.prefix).wait() == 0
        throttled = scope.throttled_seconds()
        assert throttled is not None
        assert throttled > 0
        assert scope.cpu_seconds() >= 0.3


def test_more_cores_than_there_are_is_refused(v1: CgroupV1) -> None:
    with pytest.raises(UserError, match="1000 cores were asked for"):
        v1.scope("many", Limits(cpus=1000))


def test_a_limit_that_the_kernel_does_not_take_leaves_nothing(v1: CgroupV1, state: Path) -> None:
    with pytest.raises(UserError, match="memory limit"):
        v1.scope("huge", Limits(memory_bytes=1 << 70))
    assert not list(state.rglob("*.json"))


def test_close_ends_children_and_grandchildren(v1: CgroupV1, python: Start, state: Path) -> None:
    scope = v1.scope("family", CAP)
    assert started(python(FAMILY, prefix=scope.prefix)) == "ready"
    family = scope.pids()
    assert len(family) == 3
    scope.close()
    scope.close()
    assert not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in family
    )
    assert scope.pids() == set()
    assert not list(state.rglob("*.json"))
    assert not list(state.rglob("*.lock"))


def test_close_removes_groups_that_were_made_inside(v1: CgroupV1, python: Start) -> None:
    with v1.scope("nested", CAP) as scope:
        inner = directory(scope, "memory") / "inner" / "most"
        inner.mkdir(parents=True)
        process = python(WAIT)
        (inner / "cgroup.procs").write_text(started(process))
        assert scope.pids() == {process.pid}
    assert process.wait() == -signal.SIGKILL


def test_a_process_that_cannot_join_never_becomes_the_command(v1: CgroupV1) -> None:
    scope = v1.scope("gone", Limits())
    scope.close()
    done = subprocess.run(
        [*scope.prefix, "echo", "escaped"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 125
    assert done.stdout == ""
    assert "cgroup.procs" in done.stderr


def test_observing_limits_nothing_and_counts(v1: CgroupV1, python: Start) -> None:
    scope = observe("watch")
    assert scope is not None
    with scope:
        assert scope.limiter == v1.name
        assert scope.limits == Limits()
        assert python(EAT, "150", prefix=scope.prefix).wait() == 0
        assert scope.memory().peak > 150 * MiB
        assert scope.oom_kills() == 0


def test_a_living_owner_is_left_alone_and_a_killed_one_swept(python: Start, state: Path) -> None:
    owner = python(OWNER)
    identity, child = started(owner).split()
    orphan = psutil.Process(int(child))
    assert sweep() == []
    assert orphan.is_running()
    assert groups_left(identity)
    owner.kill()
    owner.wait()
    assert orphan.is_running()
    assert sweep() == [identity]
    orphan.wait(timeout=10)
    assert groups_left(identity) == []
    assert not list(state.rglob("*.json"))


def test_without_permission_the_error_names_the_file() -> None:
    # Becomes nobody only after its imports: the interpreter may lie where only root may look.
    program = (
        "import os; from harness.emulation.limits import find_limiter; "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); find_limiter()"
    )
    # Not below tmp_path: the directories above it are closed to other users.
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, 65534, 65534)
        done = subprocess.run(
            [sys.executable, "-B", "-c", program],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "TIERLAB_STATE": home},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "UserError: memory and CPU limits cannot be set here" in done.stderr
        memory = own_groups_v1_here()["memory"] / "tierlab"
        assert f"- cgroup-v1: Permission denied: {memory}" in done.stderr
        assert "- cgroup-v2: " in done.stderr
        assert "- systemd-run: " in done.stderr
        assert "-> run as root" in done.stderr
        assert not list(Path(home).rglob("*.json"))
