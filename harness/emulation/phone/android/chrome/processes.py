"""Chromium's processes under the names that Android gives Chrome's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.processes import process_kind
from harness.emulation.phone.android.deaths import ZYGOTE_PID
from harness.emulation.phone.android.state import FIRST_ISOLATED_UID, Process

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.emulation.phone.android.state import Package

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ISOLATED_UIDS: Final = 1000
_UNKNOWN: Final = ("", "zygote", 0)


class ProcessTable:
    """Which process is which, over the life of one browser.

    Args:
        package: whose processes they are.
        root: the browser's own process.
        service: the class behind `sandboxed_process`, part of the names of renderers.
    """

    def __init__(
        self,
        package: Package,
        root: int,
        service: str = "org.chromium.content.app.SandboxedProcessService0",
    ) -> None:
        self._package = package
        self._root = root
        self._service = service
        self._names: dict[int, tuple[str, str, int]] = {}
        self._renderers = 0
        self._privileged = 0

    def read(self, pids: Iterable[int]) -> dict[int, Process]:
        """The living ones among `pids`; helpers that no Android has are left out."""
        living = {}
        for pid in pids:
            status = _memory(pid)
            if status is None:
                continue
            # A zygote becomes a renderer by a fork, and shows it a moment later.
            if self._names.get(pid, _UNKNOWN)[1] == "zygote" and (named := self._identify(pid)):
                self._names[pid] = named
            if pid not in self._names:
                continue
            name, kind, uid = self._names[pid]
            virtual, rss = status
            living[pid] = Process(
                pid=pid,
                name=name,
                uid=uid,
                kind=kind,
                package=self._package.name,
                parent=ZYGOTE_PID,
                virtual=virtual,
                rss=rss,
                pss=rss,
            )
        return living

    def _identify(self, pid: int) -> tuple[str, str, int] | None:
        """Name, kind and user of a process seen first; `None` while it is not yet itself."""
        package, uid = self._package.name, self._package.uid
        if pid == self._root:
            return package, "browser", uid
        command = _command(pid)
        if not command or not any(word.startswith("--type=") for word in command):
            return None  # a shell on its way to the browser, or the crash handler
        kind = process_kind(command)
        if kind == "zygote":
            return f"{package}_zygote", kind, uid
        if kind == "renderer":
            number, self._renderers = self._renderers, self._renderers + 1
            isolated = FIRST_ISOLATED_UID + number % _ISOLATED_UIDS
            return f"{package}:sandboxed_process0:{self._service}:{number}", kind, isolated
        number, self._privileged = self._privileged, self._privileged + 1
        return f"{package}:privileged_process{number}", kind, uid


def _memory(pid: int) -> tuple[int, int] | None:
    """Virtual and resident bytes; `None` for a process that is gone or a zombie."""
    try:
        size, resident = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[:2]
    except (OSError, ValueError):
        return None
    if size == "0":
        return None
    return int(size) * _PAGE, int(resident) * _PAGE


def _command(pid: int) -> list[str]:
    try:
        data = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    # Chromium rewrites its title: words are divided by spaces there instead of NULs.
    return data.rstrip(b"\0").decode("utf-8", "replace").replace("\0", " ").split(" ")


def proportional(pid: int) -> int | None:
    """Proportional set size in bytes (proc(5), smaps_rollup); `None` where it cannot be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return None
