"""The kernel's cgroup trees as this process sees them, and the few operations on their files.

Formats: proc_pid_mountinfo(5), cgroups(7). Everything goes through a `System`, so that a test can
put another tree in the place of the kernel's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

# The group below which all groups of this project live.
PARENT = "tierlab"


@dataclass(frozen=True, slots=True)
class System:
    """Where the process describes itself, and how a group is made and removed."""

    proc: Path = Path("/proc/self")
    make: Callable[[Path], None] = os.mkdir
    remove: Callable[[Path], None] = os.rmdir


@dataclass(frozen=True, slots=True)
class Mount:
    """One cgroup mount: `root` is the part of the hierarchy that is visible at `point`."""

    kind: str
    root: str
    point: Path
    options: frozenset[str]


def _unescape(text: str) -> str:
    """The file writes space, tab, newline and backslash as three octal digits."""
    for code in ("\\040", "\\011", "\\012", "\\134"):
        text = text.replace(code, chr(int(code[1:], 8)))
    return text


def parse_mounts(mountinfo: str) -> list[Mount]:
    """The cgroup (v1) and cgroup2 mounts of a mountinfo file."""
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind_source_options = before.split(), after.split()
        if len(kind_source_options) < 3 or kind_source_options[0] not in {"cgroup", "cgroup2"}:  # noqa: PLR2004 - three fields
            continue
        mounts.append(
            Mount(
                kind=kind_source_options[0],
                root=_unescape(fields[3]),
                point=Path(_unescape(fields[4])),
                options=frozenset(kind_source_options[2].split(",")),
            )
        )
    return mounts


def parse_membership(text: str) -> dict[str, str]:
    """/proc/<pid>/cgroup -> the group's path by v1 controller; v2 is the empty key."""
    paths: dict[str, str] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not number.isdecimal() or not path.startswith("/"):
            continue
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def visible(mount: Mount, path: str) -> Path:
    """Where the group `path` of a hierarchy is found below the mount.

    Inside a container the path may be told from outside its view; its own group is then the
    mount point itself.
    """
    inside = PurePosixPath(path)
    if inside.is_relative_to(mount.root):
        found = mount.point / inside.relative_to(mount.root)
        if ".." not in inside.parts and found.is_dir():
            return found
    return mount.point


def _mounts_and_membership(system: System) -> tuple[list[Mount], dict[str, str]]:
    try:
        mountinfo = (system.proc / "mountinfo").read_text("utf-8", "surrogateescape")
        membership = (system.proc / "cgroup").read_text("utf-8", "surrogateescape")
    except OSError as error:
        raise UserError(f"no control groups: {describe(error)}", "use Linux") from error
    return parse_mounts(mountinfo), parse_membership(membership)


def own_groups_v1(system: System) -> dict[str, Path]:
    """The own group's directory by v1 controller; several controllers may share one.

    Raises:
        UserError: this is no Linux.
    """
    mounts, membership = _mounts_and_membership(system)
    return {
        controller: visible(mount, membership[controller])
        for mount in mounts
        if mount.kind == "cgroup"
        for controller in sorted(mount.options & membership.keys())
    }


def mount_v2(system: System) -> Mount:
    """The cgroup v2 mount.

    Raises:
        UserError: there is none.
    """
    mounts, _ = _mounts_and_membership(system)
    for mount in mounts:
        if mount.kind == "cgroup2":
            return mount
    raise UserError("no cgroup v2 tree is mounted")


def own_group_v2(system: System) -> Path:
    """The own group's directory in the v2 tree.

    Raises:
        UserError: no v2 tree is mounted.
    """
    _, membership = _mounts_and_membership(system)
    return visible(mount_v2(system), membership.get("", "/"))


def describe(error: OSError) -> str:
    """`Permission denied: /sys/fs/cgroup/memory/tierlab`."""
    reason = error.strerror or str(error)
    return f"{reason}: {error.filename}" if error.filename else reason


def write(path: Path, text: str) -> None:
    """Write to a control file; it is never created.

    Raises:
        OSError: with the file's name, also where the kernel refuses the value.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} (writing {text!r})", str(path)) from error


def keyed(text: str) -> dict[str, int]:
    """A flat keyed file (`oom_kill 0` a line) as a dictionary."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}  # noqa: PLR2004 - a pair


class Readings:
    """The files of one group, each opened once and read again by pread.

    A file that is gone, or was never there, reads as what it last said: a systemd scope appears
    with its first process and vanishes with its last.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._open: dict[str, int] = {}
        self._last: dict[str, str] = {}

    def text(self, name: str) -> str:
        """What the file says now, or said last, or nothing."""
        try:
            if name not in self._open:
                self._open[name] = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
            self._last[name] = os.pread(self._open[name], 1 << 16, 0).decode()
        except OSError:
            # ENOENT before and after the group's life, ENODEV from an open file of a removed group.
            pass
        return self._last.get(name, "")

    def number(self, name: str) -> int | None:
        """The single number of a file; None where there is none (`max`, or no such file)."""
        text = self.text(name).strip()
        return int(text) if text.isdecimal() else None

    def keyed(self, name: str) -> dict[str, int]:
        """The numbers of a flat keyed file."""
        return keyed(self.text(name))

    def close(self) -> None:
        """Close the files, after one last reading: what was watched can still be asked for."""
        for name in list(self._open):
            self.text(name)
        while self._open:
            os.close(self._open.popitem()[1])
