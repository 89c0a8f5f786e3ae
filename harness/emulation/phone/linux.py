"""The system calls of Linux that Python has no function for.

Each raises OSError with the call's name as its filename, so that an error says what was refused.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWUTS: Final = 0x0400_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000
CLONE_NEWNET: Final = 0x4000_0000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

_MNT_DETACH: Final = 2
_AT_FDCWD: Final = -100
_AT_RECURSIVE: Final = 0x8000
_MOUNT_ATTR_RDONLY: Final = 1
_SYS_MOUNT_SETATTR: Final = 442
_SYS_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NAME: Final = 15
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x2008_0522
_CAPABILITIES: Final = 64
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), call)


def unshare(flags: int) -> None:
    """Leave namespaces; `CLONE_NEWUSER` needs a process with one thread."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or change a mount, as the manual page of mount, section 2, says."""
    result = _libc.mount(
        source.encode(),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        options.encode(),
    )
    _check(result, f"mount {target}")


def bind(source: Path, target: Path, *, read_only: bool) -> None:
    """Show a file or a folder, with what is mounted below it, at another place."""
    mount(str(source), target, flags=MS_BIND | MS_REC)
    if read_only:
        make_read_only(target)


def make_read_only(target: Path) -> None:
    """Make a mount read-only, and those below it where the kernel can (Linux 5.12)."""
    attributes = struct.pack("<4Q", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE,
        attributes,
        ctypes.c_size_t(len(attributes)),
    )
    if result == 0:
        return
    # The flags that the mount has must be named again, for a user may not take them off.
    now = os.statvfs(target).f_flag
    kept = now & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY | kept)


def change_root(root: Path) -> None:
    """Make a mount the root, and let go of the old one."""
    os.chdir(root)
    number = _SYS_PIVOT_ROOT.get(platform.machine())
    if number is not None and _libc.syscall(number, b".", b".") == 0:
        # Both are mounted at "." now, the old one on top.
        _check(_libc.umount2(b".", _MNT_DETACH), "umount2")
    else:
        os.chroot(".")
    os.chdir("/")


def map_own_user(uid: int, gid: int) -> None:
    """In a fresh user namespace: this user and group stay what they are, others are nobody."""
    Path("/proc/self/setgroups").write_text("deny", "utf-8")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", "utf-8")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", "utf-8")


def loopback_up() -> None:
    """Switch on `lo` in a fresh network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        asked = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, asked), 16)[0]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Get a signal when the parent ends, however it ends; end at once where it is gone already."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(by), 0, 0, 0), "prctl")
    # A parent outside of the own PID namespace is 0.
    if os.getppid() not in (parent, 0):
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def name_process(name: str) -> None:
    """What `ps` calls this process; 15 bytes of it."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl")


def drop_privileges() -> None:
    """Give up every capability, for this process and for all that it starts."""
    for number in range(_CAPABILITIES):  # EINVAL above the last one
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    forbid_new_privileges()
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, bytes(24)), "capset")


def forbid_new_privileges() -> None:
    """No program that is started from here on gains rights by its owner or its file."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def children(pid: int) -> list[int]:
    """The children of a process, of all its threads."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += [int(word) for word in file.read_text("ascii").split()]
    return found


def kill_descendants(pid: int, *, spare: int = 0) -> int:
    """Kill what a process started, and what that started; how many there were.

    `spare` is not killed; what it started is.
    """
    count = 0
    for child in children(pid):
        count += kill_descendants(child, spare=spare)
        if child == spare:
            continue
        count += 1
        with suppress(ProcessLookupError, PermissionError):
            os.kill(child, signal.SIGKILL)
    return count
