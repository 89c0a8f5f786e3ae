"""Against a fake systemd-run and systemctl on PATH, and a fake v2 tree."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.emulation.limits import Limits, find_limiter, observe, sweep
from harness.emulation.limits.systemd import SystemdRun
from harness.errors import UserError
from tests.harness.emulation.limits.test_v2 import NEW

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.emulation.limits.conftest import FakeTree

# Makes the scope's group with the memory limit it is given, joins it, becomes the command.
FAKE_RUN = """#!{python}
import json, os, pathlib, select, sys
root = pathlib.Path({root!r})
if sys.argv[1:] == ["--version"]:
    print("systemd {version} ({version}-1)")
    sys.exit()
options, command = sys.argv[1:sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1:]
unit = next(o.removeprefix("--unit=") for o in options if o.startswith("--unit="))
properties = dict(o.split("=", 1) for o in options if "=" in o and not o.startswith("--"))
group = root / "cgroup/app.slice" / unit
group.mkdir(parents=True)
for name, text in json.loads({files!r}).items():
    (group / name).write_text(text)
if {limits}:
    (group / "memory.max").write_text(properties.get("MemoryMax", "max") + "\\n")
(group / "cgroup.procs").write_text(f"{{os.getpid()}}\\n")
(root / "proc/cgroup").write_text(f"0::/app.slice/{{unit}}\\n")
ended = os.pidfd_open(os.getpid())
if os.fork() == 0:  # As the kernel: who has ended is not listed.
    for descriptor in (0, 1, 2):
        os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
    try:
        select.select([ended], [], [])
        os.truncate(group / "cgroup.procs", 0)  # Never makes it again where it is gone.
    finally:
        os._exit(0)
os.execvp(command[0], command)
"""
FAKE_CTL = """#!{python}
import pathlib, shutil, sys
root = pathlib.Path({root!r})
with (root / "systemctl.log").open("a") as log:
    print(*sys.argv[1:], file=log)
if "stop" in sys.argv:
    shutil.rmtree(root / "cgroup/app.slice" / sys.argv[-1], ignore_errors=True)
if "show" in sys.argv:
    print("oom-kill")
"""


class FakeSystemd:
    def __init__(self, tree: FakeTree, directory: Path) -> None:
        self.tree = tree
        self.bin = directory / "bin"
        self.bin.mkdir()
        (tree.proc / "mountinfo").write_text(f"3 2 0:9 / {tree.mount} rw - cgroup2 cgroup2 rw\n")
        (tree.proc / "cgroup").write_text("0::/session\n")
        tree.fill(tree.mount / "session", {"cgroup.controllers": ""})
        self.install()

    def install(self, version: int = 255, *, limits: bool = True) -> None:
        values = {
            "python": sys.executable,
            "root": str(self.tree.proc.parent),
            "version": version,
            "files": json.dumps(NEW),
            "limits": limits,
        }
        for name, text in (("systemd-run", FAKE_RUN), ("systemctl", FAKE_CTL)):
            (self.bin / name).write_text(text.format(**values))
            (self.bin / name).chmod(0o755)

    def group(self, unit: str) -> Path:
        return self.tree.mount / "app.slice" / unit

    def calls(self) -> list[str]:
        return (self.tree.proc.parent / "systemctl.log").read_text().splitlines()


@pytest.fixture
def fake(tree: FakeTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystemd:
    systemd = FakeSystemd(tree, tmp_path)
    monkeypatch.setenv("PATH", f"{systemd.bin}:{os.environ['PATH']}")
    return systemd


def properties(prefix: tuple[str, ...]) -> set[str]:
    return {value for option, value in itertools.pairwise(prefix) if option == "-p"}


def test_the_limits_become_properties(fake: FakeSystemd) -> None:
    limiter = SystemdRun(fake.tree.system)
    with limiter.scope("pixel", Limits(memory_bytes=64 << 20, cpus=0.5)) as scope:
        assert scope.prefix[0] == "systemd-run"
        assert scope.prefix[-1] == "--"
        assert ("--user" in scope.prefix) == (os.getuid() != 0)
        assert f"--unit={scope.id}.scope" in scope.prefix
        given = properties(scope.prefix)
        assert {f"MemoryMax={64 << 20}", "MemorySwapMax=0", "CPUQuota=50%"} <= given
        assert "OOMPolicy=continue" in given
        assert any(one.startswith("AllowedCPUs=") for one in given)


def test_no_limits_are_no_properties(fake: FakeSystemd) -> None:
    with SystemdRun(fake.tree.system).scope("watch", Limits()) as scope:
        assert properties(scope.prefix) == {
            "MemoryAccounting=yes",
            "CPUAccounting=yes",
            "OOMPolicy=continue",
        }


def test_systemd_before_253_is_not_asked_for_a_policy(fake: FakeSystemd) -> None:
    fake.install(252)
    with SystemdRun(fake.tree.system).scope("run", Limits()) as scope:
        assert "OOMPolicy=continue" not in properties(scope.prefix)


def test_the_scope_is_read_once_it_runs(fake: FakeSystemd) -> None:
    with SystemdRun(fake.tree.system).scope("run", Limits(memory_bytes=64 << 20)) as scope:
        assert scope.oom_kills() == 0
        assert scope.memory().peak == 0
        assert scope.pids() == set()
        subprocess.run([*scope.prefix, "true"], check=True)
        group = fake.group(f"{scope.id}.scope")
        assert scope.memory().peak == 3000
        (group / "memory.events").write_text("oom_kill 1\n")
        assert scope.oom_kills() == 1
    assert not group.exists()
    assert fake.calls()[-2:] == [
        " ".join((*(() if os.getuid() == 0 else ("--user",)), verb, group.name))
        for verb in ("stop", "reset-failed")
    ]
    assert scope.oom_kills() == 1


def test_a_scope_that_systemd_ended_for_an_oom_still_says_so(fake: FakeSystemd) -> None:
    with SystemdRun(fake.tree.system).scope("run", Limits(memory_bytes=64 << 20)) as scope:
        subprocess.run([*scope.prefix, "true"], check=True)
        assert scope.oom_kills() == 0
        group = fake.group(f"{scope.id}.scope")
        fake.tree.remove(group)
        # An open file of a removed group of the kernel's fails; a plain file has to be let go.
        scope._files.close()
        assert scope.oom_kills() == 1


def test_a_dead_owners_unit_is_stopped(fake: FakeSystemd) -> None:
    scope = SystemdRun(fake.tree.system).scope("run", Limits())
    subprocess.run([*scope.prefix, "true"], check=True)
    group = fake.group(f"{scope.id}.scope")
    scope._claim.abandon()
    assert sweep(fake.tree.system) == [scope.id]
    assert not group.exists()


def test_it_is_found_where_no_group_may_be_made(fake: FakeSystemd) -> None:
    assert find_limiter(fake.tree.system).name == "systemd-run"
    scope = observe("run", fake.tree.system)
    assert scope is not None
    with scope:
        assert scope.limiter == "systemd-run"


def test_a_process_outside_the_scope_is_noticed(fake: FakeSystemd) -> None:
    run = fake.bin / "systemd-run"
    run.write_text(run.read_text().replace('f"{os.getpid()}\\n"', '""'))
    with pytest.raises(UserError) as caught:
        find_limiter(fake.tree.system)
    assert "systemd-run: a process could not join the group" in caught.value.problem
    assert observe("run", fake.tree.system) is None


def test_a_limit_that_systemd_does_not_set_is_refused(fake: FakeSystemd) -> None:
    fake.install(limits=False)
    with pytest.raises(UserError, match="keeps a memory limit of None"):
        SystemdRun(fake.tree.system)


def test_a_manager_that_cannot_be_reached(fake: FakeSystemd) -> None:
    (fake.bin / "systemd-run").write_text(
        "#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n"
    )
    with pytest.raises(UserError, match="starts no scope: Failed to connect to bus"):
        SystemdRun(fake.tree.system)


def test_no_systemd(fake: FakeSystemd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no systemd-run"):
        SystemdRun(fake.tree.system)


def test_every_reason_is_told(tree: FakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tree.proc / "mountinfo").write_text(f"3 2 0:9 / {tree.mount} rw - cgroup2 cgroup2 rw\n")
    (tree.proc / "cgroup").write_text("0::/a\n")
    for group in (tree.mount, tree.mount / "a"):
        tree.fill(group, {"cgroup.controllers": "hugetlb\n"})
    with pytest.raises(UserError) as caught:
        find_limiter(tree.system)
    assert caught.value.problem.splitlines() == [
        "memory and CPU limits cannot be set here:",
        "  - cgroup-v1: the memory controller is not mounted as v1",
        f"  - cgroup-v2: {tree.mount / 'a'} has no memory controller",
        "  - systemd-run: there is no systemd-run",
        f"  - cgroup-v2 in {tree.mount}: {tree.mount} has no memory controller",
    ]
    assert "profile without limits" in caught.value.next_step
