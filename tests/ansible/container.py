"""A whole Debian with systemd in a container: made, booted, entered, ended.

debootstrap(8), systemd-nspawn(1). The container shares this machine's network, so that services in
it need ports of their own; it knows nothing of this machine's systemd, if there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUITE: Final = "bookworm"
PACKAGES: Final = (
    "systemd", "systemd-sysv", "dbus", "udev", "python3", "python3-apt", "ca-certificates",
)  # fmt: skip
TOOLS: Final = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container"}
MAKING_S: Final = 900
BOOT_S: Final = 120
COMMAND_S: Final = 1800
POLL_S: Final = 0.5
# Who vouches for the packages' servers is this machine's own business.
CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")


def missing_tools() -> str:
    """Which packages are missing, for a message; empty where none is."""
    packages = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "root, who may make containers"
    return f"apt-get install {' '.join(packages)}" if packages else ""


def make_root(root: Path) -> None:
    """A fresh Debian in a folder."""
    said = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=MAKING_S,
    )
    assert said.returncode == 0, said.stdout[-2000:] + said.stderr[-2000:]


def remove_root(root: Path) -> None:
    """Remove a folder, after what debootstrap may have left mounted in it."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((one for one in mounted if Path(one).is_relative_to(root)), reverse=True):
        subprocess.run(["umount", point], check=True, timeout=BOOT_S)
    shutil.rmtree(root)


@dataclass(frozen=True, slots=True)
class Container:
    """A container that has booted.

    Attributes:
        root: its folder.
        enter: a program that takes a path, which it ignores as chroot(8)'s stand-in, and a command
            to run inside.
    """

    root: Path
    enter: Path

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        done = subprocess.run(
            [self.enter, self.root, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert not check or done.returncode == 0, (
            f"{words}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
        return done

    def says(self, *words: str) -> str:
        """What a command prints, whether or not it fails."""
        return self.run(*words, check=False).stdout.strip()


@contextmanager
def booted(root: Path, prefix: Sequence[str]) -> Iterator[Container]:
    """Boot the system in a folder.

    Args:
        root: the folder.
        prefix: what nspawn is started behind, such as a scope with limits.
    """
    binds = [f"--bind-ro={CERTIFICATES}"] if CERTIFICATES.exists() else []
    log = root.parent / "console.log"
    with (
        log.open("wb") as console,
        subprocess.Popen(
            [
                *prefix, "systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--quiet",
                f"--directory={root}", "--resolv-conf=copy-host", "--timezone=off",
                "--console=pipe", *binds,
            ],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console,
        ) as process,
    ):  # fmt: skip
        try:
            enter = root.parent / "enter"
            enter.write_text(
                "#!/bin/sh\nshift\n"
                f'exec nsenter --target={_init_of(process)} --mount --uts --ipc --pid -- "$@"\n'
            )
            enter.chmod(0o755)
            container = Container(root, enter)
            _wait_until_up(container, log)
            yield container
        finally:
            process.terminate()  # an orderly shutdown
            try:
                process.wait(BOOT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _init_of(process: subprocess.Popen[bytes]) -> int:
    """The first process of the container, as it is called outside."""
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline and process.poll() is None:
        for child in psutil.Process(process.pid).children():
            if child.name() == "systemd":
                return child.pid
        time.sleep(POLL_S)
    raise AssertionError(f"the container does not boot (exit code {process.poll()})")


def _wait_until_up(container: Container, log: Path) -> None:
    deadline = time.monotonic() + BOOT_S
    state = ""
    while time.monotonic() < deadline:
        state = container.says("systemctl", "is-system-running")
        if state in {"running", "degraded"}:
            return
        time.sleep(POLL_S)
    raise AssertionError(f"the container is {state}: {log.read_text(errors='replace')[-2000:]}")
