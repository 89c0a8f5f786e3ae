"""The phone's file system: what of the host is in it, and where it may be written.

    /            read-only; folders of the host that programs need, read-only under the same paths
    /system/bin  the shell, its tools, the registry's commands
    /data        on the host's disk; /sdcard is a part of it
    /tmp, /dev/shm   memory, counted to the group of whoever fills it
    /proc        of the phone's own processes, with its own meminfo and cpuinfo

Nothing else of the host is there: no home, no other mount.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.emulation.phone import linux

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Folders with the programs and libraries of a Linux system; a link among them stays one.
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
#: What programs read below /etc and that says nothing of the host or its user.
_ETC: Final = (
    "alternatives", "ca-certificates", "chromium", "chromium.d", "fonts", "java", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "mime.types", "opt", "pki", "ssl", "vulkan",
)  # fmt: skip
_ETC_FILES: Final = {
    "group": "root:x:0:\nshell:x:2000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost\n::1 ip6-localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "passwd": "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n"
    "nobody:x:65534:65534::/:/system/bin/sh\n",
    "resolv.conf": "",
}
_DEVICES: Final = ("full", "null", "random", "tty", "urandom", "zero")
_EMPTY: Final = (
    "apex", "data", "dev", "etc", "mnt", "odm", "proc", "product", "storage", "sys", "system/bin",
    "system/etc", "tmp", "vendor/bin",
)  # fmt: skip
_LINKS: Final = {
    "dev/fd": "/proc/self/fd",
    "dev/ptmx": "pts/ptmx",
    "dev/stderr": "/proc/self/fd/2",
    "dev/stdin": "/proc/self/fd/0",
    "dev/stdout": "/proc/self/fd/1",
    "mnt/sdcard": "/storage/emulated/0",
    "sdcard": "/storage/emulated/0",
}
#: Of the phone's data: made when missing, before anything starts.
DATA_FOLDERS: Final = (
    "app",
    "data",
    "local/tmp",
    "media/0/Download",
    "misc",
    "tombstones",
    "user/0",
)
#: Parts of /proc that change the host; read-only inside.
_PROC_READ_ONLY: Final = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi")
#: Parts of /sys that programs read to learn of the processor.
_SYS: Final = ("/sys/devices/system",)
_MEBIBYTE: Final = 1 << 20
_TMP_BYTES: Final = 512 * _MEBIBYTE


@dataclass(frozen=True, slots=True)
class RootPlan:
    """What a root is made of.

    Args:
        root: the empty folder that it is mounted on.
        data: the folder on a disk that becomes `/data`.
        shown: files and folders of the host that are there read-only.
        groups: folders of control groups that are there and can be written.
        memory_bytes: the most that `/dev/shm` may hold, which is the browser's shared memory.
        files: texts at places below /proc, such as `meminfo`.
        own_processes: whether /proc is of an own PID namespace.
    """

    root: Path
    data: Path
    shown: Sequence[Path]
    groups: Sequence[Path]
    memory_bytes: int
    files: dict[str, str]
    own_processes: bool


def python_paths() -> list[Path]:
    """What this very program reads while it runs: Python, its packages, its own modules.

    Not every folder of `sys.path`: a working directory may be among them, and that may be anything.
    """
    packages = [Path(entry) for entry in sys.path]
    packages = [path for path in packages if path.name in ("site-packages", "dist-packages")]
    project = Path(__file__).resolve().parents[3]
    own = [project / name for name in ("harness", "results", "device_profiles")]
    paths = [Path(sys.base_prefix), Path(sys.prefix), *packages, *own]
    return [path for path in paths if path.exists() and path != Path("/")]


def outermost(paths: Iterable[Path]) -> list[Path]:
    """The paths without those that lie below another one."""
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(one) for one in kept):
            kept.append(path)
    return kept


def make_root(plan: RootPlan) -> None:
    """Mount a root; the caller is in a mount namespace of its own.

    Raises:
        OSError: a mount is refused.
    """
    root = plan.root
    # Nothing that is mounted here may be seen outside.
    linux.mount("none", Path("/"), flags=linux.MS_REC | linux.MS_PRIVATE)
    _memory(root, 16 * _MEBIBYTE)
    for name in _EMPTY:
        (root / name).mkdir(parents=True)
    _memory(root / "tmp", _TMP_BYTES, mode="1777")
    _show_system(root)
    for path in outermost(path.absolute() for path in plan.shown):
        _show(path, root, read_only=True)
    _make_etc(root)
    _make_dev(root, plan.memory_bytes)
    _make_proc(root, plan)
    for name in _SYS:
        _show(Path(name), root, read_only=True)
    for group in plan.groups:
        _show(group, root, read_only=False)
    _make_storage(root, plan.data)


def make_open_root(plan: RootPlan) -> None:
    """What stands for the root of a phone without isolation: a folder."""
    for name in ("dev/socket", "storage/emulated", "system/bin", "tmp", "vendor/bin"):
        (plan.root / name).mkdir(parents=True, exist_ok=True)
    (plan.root / "dev/socket").chmod(0o700)
    links = {"data": plan.data, "sdcard": plan.data / "media/0"}
    links["storage/emulated/0"] = links["sdcard"]
    for name, target in links.items():
        if not (plan.root / name).is_symlink():
            (plan.root / name).symlink_to(target)


def enter_root(root: Path) -> None:
    """Make it this process's root."""
    linux.change_root(root)


def lock_root() -> None:
    """Make `/` itself read-only; what is mounted below stays as it is."""
    flags = linux.MS_BIND | linux.MS_REMOUNT | linux.MS_RDONLY | linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("none", Path("/"), flags=flags)


def _memory(target: Path, size: int, *, mode: str = "755") -> None:
    flags = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("tmpfs", target, "tmpfs", flags, f"size={size},mode={mode}")


def _show(path: Path, root: Path, *, read_only: bool) -> None:
    """Bind a path of the host to the same path inside."""
    if not path.exists():
        return
    target = root / path.relative_to("/")
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    linux.bind(path, target, read_only=read_only)


def _show_system(root: Path) -> None:
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            (root / name[1:]).symlink_to(path.readlink())
        elif path.is_dir():
            _show(path, root, read_only=True)


def _make_etc(root: Path) -> None:
    for name in _ETC:
        _show(Path("/etc", name), root, read_only=True)
    for name, text in _ETC_FILES.items():
        (root / "etc" / name).write_text(text, "utf-8")


def _make_dev(root: Path, memory_bytes: int) -> None:
    dev = root / "dev"
    # Not nodev: the devices below are mounts of their own, but a user may not mount them otherwise.
    linux.mount("tmpfs", dev, "tmpfs", linux.MS_NOSUID, f"size={_MEBIBYTE},mode=755")
    for name in _DEVICES:
        _show(Path("/dev", name), root, read_only=False)
    for name in ("pts", "shm", "socket"):
        (dev / name).mkdir()
    (dev / "socket").chmod(0o700)
    _memory(dev / "shm", memory_bytes, mode="1777")
    linux.mount("devpts", dev / "pts", "devpts", linux.MS_NOSUID, "newinstance,ptmxmode=666")
    for name, target in _LINKS.items():
        (root / name).symlink_to(target)


def _make_proc(root: Path, plan: RootPlan) -> None:
    proc = root / "proc"
    if plan.own_processes:
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("proc", proc, "proc", flags)
    else:
        linux.bind(Path("/proc"), proc, read_only=False)
    for name in _PROC_READ_ONLY:
        if (proc / name).exists():
            linux.bind(proc / name, proc / name, read_only=True)
    for name, text in plan.files.items():
        own = root / "dev" / f".{name}"
        own.write_text(text, "ascii")
        linux.bind(own, proc / name, read_only=False)


def make_data(data: Path) -> None:
    """The folders that every phone has in `/data`."""
    for name in DATA_FOLDERS:
        (data / name).mkdir(parents=True, exist_ok=True)
    (data / "local/tmp").chmod(0o777)


def _make_storage(root: Path, data: Path) -> None:
    linux.bind(data, root / "data", read_only=False)
    inner = root / "storage/emulated/0"
    inner.mkdir(parents=True)
    linux.bind(data / "media/0", inner, read_only=False)
