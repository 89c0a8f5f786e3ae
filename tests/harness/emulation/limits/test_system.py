from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.emulation.limits.system import (
    Mount,
    Readings,
    own_group_v2,
    own_groups_v1,
    parse_membership,
    parse_mounts,
    visible,
    write,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from tests.harness.emulation.limits.conftest import FakeTree

# A hybrid machine: v1 controllers, and a v2 tree that has none of them.
HYBRID_MOUNTS = """\
23 1 0:21 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
HYBRID_MEMBERSHIP = """\
5:name=systemd:/
4:memory:/jobs/9055
2:cpu,cpuacct:/
0::/
"""


def test_mounts_of_a_hybrid_machine() -> None:
    mounts = parse_mounts(HYBRID_MOUNTS)
    assert [mount.kind for mount in mounts] == ["cgroup"] * 3 + ["cgroup2"]
    assert mounts[0].point == Path("/sys/fs/cgroup/cpu,cpuacct")
    assert {"cpu", "cpuacct"} <= mounts[0].options


def test_escaped_mount_points() -> None:
    (mount,) = parse_mounts("1 2 0:1 / /a\\040b\\134c rw - cgroup2 none rw\n")
    assert mount.point == Path("/a b\\c")


def test_membership() -> None:
    assert parse_membership(HYBRID_MEMBERSHIP) == {
        "name=systemd": "/",
        "memory": "/jobs/9055",
        "cpu": "/",
        "cpuacct": "/",
        "": "/",
    }
    assert parse_membership("junk\n:::\n") == {}


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("/", "/a", "a"),
        ("/docker/1", "/docker/1", ""),
        ("/docker/1", "/docker/1/a", "a"),
        ("/docker/1", "/docker/2", ""),
        ("/", "/../elsewhere", ""),
        ("/", "/not/there", ""),
    ],
)
def test_groups_are_found_below_their_mount(
    tmp_path: Path, root: str, path: str, expected: str
) -> None:
    (tmp_path / "a").mkdir()
    mount = Mount("cgroup2", root, tmp_path, frozenset())
    assert visible(mount, path) == tmp_path / expected


def test_own_groups(tree: FakeTree) -> None:
    (tree.proc / "mountinfo").write_text(HYBRID_MOUNTS.replace("/sys/fs/cgroup", str(tree.mount)))
    (tree.proc / "cgroup").write_text(HYBRID_MEMBERSHIP)
    (tree.mount / "memory/jobs/9055").mkdir(parents=True)
    homes = own_groups_v1(tree.system)
    assert homes["memory"] == tree.mount / "memory/jobs/9055"
    assert homes["cpu"] == homes["cpuacct"] == tree.mount / "cpu,cpuacct"
    assert own_group_v2(tree.system) == tree.mount / "unified"


def test_no_v2_tree_and_no_linux(tree: FakeTree) -> None:
    with pytest.raises(UserError, match=r"no control groups: .*mountinfo"):
        own_groups_v1(tree.system)
    (tree.proc / "mountinfo").write_text("")
    (tree.proc / "cgroup").write_text("")
    with pytest.raises(UserError, match="no cgroup v2 tree"):
        own_group_v2(tree.system)


def test_control_files_are_written_and_never_created(tmp_path: Path) -> None:
    file = tmp_path / "memory.max"
    with pytest.raises(FileNotFoundError, match=r"memory\.max"):
        write(file, "1")
    file.write_text("a longer text")
    write(file, "64")
    assert file.read_text() == "64"


def test_readings_outlive_the_group(tmp_path: Path) -> None:
    files = Readings(tmp_path / "group")
    assert files.keyed("memory.events") == {}
    assert files.number("memory.current") is None
    (tmp_path / "group").mkdir()
    (tmp_path / "group/memory.events").write_text("oom 1\noom_kill 1\n")
    assert files.keyed("memory.events") == {"oom": 1, "oom_kill": 1}
    (tmp_path / "group/memory.events").write_text("oom 2\noom_kill 2\n")
    files.close()
    (tmp_path / "group/memory.events").unlink()
    assert files.keyed("memory.events")["oom_kill"] == 2


def test_max_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    assert Readings(tmp_path).number("memory.max") is None
