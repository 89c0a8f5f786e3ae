"""The processes of a browser: what kind each is, and what it uses."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KINDS: Final = {
    "renderer": "renderer",
    "gpu-process": "gpu",
    "zygote": "zygote",
}

# Engines other than Chromium give their processes names instead of a --type argument.
_NAMES: Final = {
    "WebKitWebProcess": "renderer",
    "WebKitGPUProcess": "gpu",
    "WebKitNetworkProcess": "utility",
}


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process at one moment. `peak_bytes` is its own high-water mark where the kernel says."""

    pid: int
    kind: str
    resident_bytes: int
    peak_bytes: int
    cpu_seconds: float


def process_kind(command: Sequence[str]) -> str:
    """`browser`, `renderer`, `gpu`, `zygote` or `utility`, from a command line."""
    line = " ".join(command)
    if found := re.search(r"--type=([\w-]+)", line):
        return _KINDS.get(found.group(1), "utility")
    name = Path(command[0]).name if command else ""
    if "-contentproc" in line:  # Firefox names the kind last
        return {"tab": "renderer", "gpu": "gpu"}.get(command[-1], "utility")
    if "crashpad" in name:
        return "utility"
    return _NAMES.get(name, "browser")


def _peak(pid: int) -> int:
    """`VmHWM` of a process, bytes (proc(5)); 0 where there is no such file."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def sample(pids: Iterable[int]) -> list[ProcessSample]:
    """The living processes among `pids`; zombies and processes that just ended are left out."""
    samples = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            with process.oneshot():
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                resident = process.memory_info().rss
                times = process.cpu_times()
                command = process.cmdline()
                if not command:  # it has given back its memory, and is about to be a zombie
                    continue
                kind = process_kind(command)
        except psutil.Error:
            continue
        samples.append(
            ProcessSample(
                pid=pid,
                kind=kind,
                resident_bytes=resident,
                peak_bytes=max(resident, _peak(pid)),
                cpu_seconds=times.user + times.system,
            )
        )
    return samples


def family(root: int) -> set[int]:
    """`root` and all its descendants."""
    try:
        process = psutil.Process(root)
        return {root, *(child.pid for child in process.children(recursive=True))}
    except psutil.Error:
        return set()


def handles(pids: Iterable[int]) -> list[psutil.Process]:
    """The living processes among `pids`, to be killed later: a number may be another's by then."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def kill_all(found: Sequence[psutil.Process], *, within: float) -> None:
    """Kill what is left of `found`, and wait up to `within` seconds for it to be gone."""
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(list(found), timeout=within)


def largest_by_kind(samples: Iterable[ProcessSample], *, peak: bool = False) -> dict[str, int]:
    """Bytes of the largest process of each kind."""
    largest: dict[str, int] = {}
    for item in samples:
        size = item.peak_bytes if peak else item.resident_bytes
        largest[item.kind] = max(largest.get(item.kind, 0), size)
    return largest
