"""All processes that descend from this one, orphans too, and which of them is what."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.kill_storm.plan import Target
from harness.emulation.phone.linux import adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_CHROMIUM: Final = ("chrom", "headless_shell")
# How execnet starts the workers of xdist.
_EXECNET: Final = "exec(eval(sys.stdin.readline()))"


# What a command line has in it; the first that fits decides.
_WORDS: Final = {
    "-m harness.emulation.phone": Target.PHONE,
    _EXECNET: Target.XDIST,
    "-m pytest": Target.CONTROLLER,
    "-m harness.fleet job": Target.JOB,
    "-m harness.fleet receive": Target.STORE,
    "-m harness.fleet bundle": Target.STORE,
    "-m harness.fleet confirm": Target.STORE,
    "fleet worker": Target.WORKER,
    "fleet buildbot": Target.MASTER,
    "buildbot start": Target.MASTER,
}


def target_of(words: Sequence[str]) -> Target | None:
    """What a process is, by its command line."""
    if not words:
        return None
    program, line = Path(words[0]).name, " ".join(words[1:])
    if program.startswith(_CHROMIUM):
        return Target.BROWSER
    if program == "adb":
        return Target.ADB if "server" in line else None
    return next((target for part, target in _WORDS.items() if part in line), None)


class Crowd:
    """The descendants of this process, which becomes the parent of those that lose theirs."""

    def __init__(self) -> None:
        adopt_orphans()
        self._me = psutil.Process()

    def members(self) -> list[psutil.Process]:
        """Those that are alive."""
        found = []
        for process in self._me.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def of(self, target: Target) -> list[psutil.Process]:
        """Those of a kind, by their numbers. The pytest of a job is part of the job."""
        kinds = {target, Target.CONTROLLER} if target is Target.JOB else {target}
        found = []
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                if target_of(process.cmdline()) in kinds:
                    found.append(process)
        return sorted(found, key=lambda process: process.pid)

    def reap(self, spare: Collection[int]) -> None:
        """Let go of the orphans that ended. `spare`: the children that somebody else waits for."""
        for child in self._me.children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if child.pid not in spare and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)


def described(process: psutil.Process) -> str:
    """A process in a few words."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return str(process.pid)
    program = Path(words[0]).name if words else "?"
    told = [word for word in words[1:] if word.startswith("--type=")]
    return f"{process.pid} {program} {' '.join(told or words[1:4])[:60]}"
