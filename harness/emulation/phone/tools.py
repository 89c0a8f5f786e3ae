"""What is in the phone's `/system/bin`, and how its shell is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.emulation.phone import hardware
from harness.emulation.phone.records import MARK
from harness.emulation.phone.shell import ShellPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.emulation.phone.command import Command, CommandIO, Place
    from harness.profiles import Profile

_HOST_PATH: Final = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
#: Of Android's tools, those that read and write files and nothing else: all that there is where the
#: phone is not isolated, and looked for on the host where there is no toybox.
HARMLESS_TOOLS: Final = (
    "awk", "base64", "basename", "cat", "chmod", "cksum", "cmp", "comm", "cp", "cut", "date", "dd",
    "df", "diff", "dirname", "du", "echo", "env", "expand", "expr", "false", "file", "find", "fold",
    "getconf", "grep", "gunzip", "gzip", "head", "hostname", "ln", "ls", "md5sum", "mkdir",
    "mktemp", "mv", "nl", "nohup", "od", "paste", "printenv", "printf", "pwd", "readlink",
    "realpath", "rm", "rmdir", "sed", "seq", "sh", "sha1sum", "sha224sum", "sha256sum",
    "sha384sum", "sha512sum", "sleep", "sort", "split", "stat", "strings", "tac", "tail", "tar",
    "tee", "test", "time", "timeout", "touch", "tr", "true", "truncate", "tty", "uname", "uniq",
    "wc", "which", "xargs", "xxd", "yes", "zcat",
)  # fmt: skip
#: Where a path of the phone begins in a command line.
_PHONE_PATH: Final = re.compile(
    r"(?<![\w./~$}-])/(?:data|sdcard|storage/emulated/0|system|vendor)(?![\w.-])"
)
_PLAIN_PATH: Final = re.compile(r"[\w./-]+")
_CALL: Final = ".tierlab-call"
_SHELL_USER: Final = (
    "uid=2000(shell) gid=2000(shell) groups=2000(shell),1004(input),1007(log),1011(adb),"
    "1015(sdcard_rw),1028(sdcard_r),1078(ext_data_rw),1079(ext_obb_rw),3001(net_bt_admin),"
    "3002(net_bt),3003(inet),3006(net_bw_stats),3009(readproc),3011(uhid) context=u:r:shell:s0\n"
)


def own_commands(profile: Profile) -> dict[str, Command]:
    """What the host's programs would answer for the host."""

    async def nproc(_argv: Sequence[str], io: CommandIO) -> int:
        await io.out(f"{hardware.cores(profile)}\n")
        return 0

    async def identity(argv: Sequence[str], io: CommandIO) -> int:
        plain = {(): _SHELL_USER, ("-u",): "2000\n", ("-un",): "shell\n", ("-g",): "2000\n"}
        told = plain.get(tuple(argv[1:]))
        if told is None:
            await io.err(f"id: {argv[1]}: not known here\n")
            return 1
        await io.out(told)
        return 0

    async def whoami(_argv: Sequence[str], io: CommandIO) -> int:
        await io.out("shell\n")
        return 0

    return {"nproc": nproc, "id": identity, "whoami": whoami}


def install_tools(
    place: Place, commands: Iterable[str], shim: Path, *, isolated: bool
) -> list[str]:
    """Fill `/system/bin`; what this host lacks, each with what is there in its place."""
    binaries = place.path("/system/bin")
    binaries.mkdir(parents=True, exist_ok=True)
    missing = []
    mksh = shutil.which("mksh", path=_HOST_PATH)
    if mksh is None:
        missing.append("shell: this host has no mksh (Android's shell); its /bin/sh answers")
    _link(binaries / "sh", mksh or "/bin/sh")
    toybox = shutil.which("toybox", path=_HOST_PATH)
    if toybox is None:
        missing.append("shell: this host has no toybox (Android's tools); its own tools answer")
    for name, target in _tools(toybox, all_of_them=isolated).items():
        _link(binaries / name, target)
    _install_shim(binaries / _CALL, shim, place)
    for name in commands:
        _link(binaries / name, _CALL)
    return missing


def _tools(toybox: str | None, *, all_of_them: bool) -> dict[str, str]:
    """Names of tools and the programs that they are."""
    found: dict[str, str] = {}
    for name in HARMLESS_TOOLS:
        program = shutil.which(name, path=_HOST_PATH)
        if program is not None:
            found[name] = program
    if toybox is not None:
        done = subprocess.run([toybox], capture_output=True, check=False, text=True, timeout=10)
        names = (name for name in done.stdout.split() if name.replace("_", "").isalnum())
        found |= {name: toybox for name in names if all_of_them or name in HARMLESS_TOOLS}
        found["toybox"] = toybox
    found.pop("sh", None)
    return found


def _link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def _install_shim(path: Path, shim: Path, place: Place) -> None:
    """The shim with the place of its socket, behind the very Python that runs here."""
    text = shim.read_text("utf-8")
    socket = place.path("/dev/socket/tierlab")
    text = text.replace('"/dev/socket/tierlab"', repr(str(socket)))
    python = Path(sys.executable).resolve()
    path.write_text(f"#!{python} -IS\n{text}", "utf-8")
    path.chmod(0o755)


def shell_plan(place: Place, profile: Profile) -> ShellPlan:
    """How a shell is started, with Android's environment (`init.environ.rc`)."""
    device = profile.android.properties.get("ro.product.device") if profile.android else None
    environment: Mapping[str, str] = {
        "PATH": f"{place.path('/system/bin')}:{place.path('/vendor/bin')}",
        "HOME": str(place.root),
        "ANDROID_DATA": str(place.path("/data")),
        "ANDROID_ROOT": str(place.path("/system")),
        "EXTERNAL_STORAGE": str(place.path("/sdcard")),
        "HOSTNAME": device or profile.id,
        "LOGNAME": "shell",
        "PS1": f"{device or profile.id}:${{PWD:-?}} $ ",
        "SHELL": str(place.path("/system/bin/sh")),
        "TMPDIR": str(place.path("/data/local/tmp")),
        "USER": "shell",
        MARK: place.identity,
    }
    return ShellPlan(
        program=(str(place.path("/system/bin/sh")),),
        environment=environment,
        folder=place.root,
        translate=str if place.root == Path("/") else partial(host_paths, str(place.root)),
    )


def host_paths(root: str, line: str) -> str:
    """A command line in which the phone's own folders are those below `root`.

    Only for a phone without isolation, whose shell sees the host's files: what a path in it means
    is found without knowing the shell's grammar, so a word that merely looks like one is changed.
    """
    if not _PLAIN_PATH.fullmatch(root):
        return line  # it would need quoting, and the line may be quoted already
    return _PHONE_PATH.sub(lambda found: root + found[0], line)
