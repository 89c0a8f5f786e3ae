"""How a process of Chrome died, from what the kernel, the browser and its stderr say.

The kernel counts a memory kill before the process is gone, the browser reports a renderer's signal
a moment after, and its stderr names the GPU process's. A renderer that is gone without a word was
not needed any more: the everyday end of a tab.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.deaths import (
    Cause,
    Ended,
    ForceStopped,
    LowMemory,
    NotNeeded,
    Signaled,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.emulation.phone.android.state import Process

#: How long the browser's own word on a death is waited for.
WAIT_SECONDS: Final = 1.0
_KINDS_KILLED: Final = ("renderer", "gpu", "utility")


@dataclass(slots=True)
class Inquest:
    """What is known so far. `claim` says whether a memory kill is left to explain a death."""

    claim: Callable[[], bool]
    _crashes: list[tuple[float, str, int]] = field(default_factory=list)
    _gpu_exits: list[int] = field(default_factory=list)
    _dead: list[tuple[float, Process]] = field(default_factory=list)

    def crash(self, status: str, code: int) -> None:
        """The browser's word on a renderer: `killed` or `crashed`, and the signal."""
        self._crashes.append((time.monotonic(), status, code))

    def gpu_exit(self, code: int) -> None:
        """The browser's word on its GPU process."""
        self._gpu_exits.append(code)

    def dead(self, process: Process) -> None:
        """A process is gone."""
        self._dead.append((time.monotonic(), process))

    def decided(
        self, limit: int, *, stopping: Cause | None, now: float | None = None
    ) -> list[tuple[Process, Cause]]:
        """The deaths that can be explained now, each once."""
        now = time.monotonic() if now is None else now
        result = []
        # Where several died at once, the kernel took the largest.
        for at, process in sorted(self._dead, key=lambda item: -item[1].rss):
            cause = self._cause(process, limit, stopping=stopping, waited=now - at)
            if cause is not None:
                result.append((process, cause))
        told = {process.pid for process, _ in result}
        self._dead = [item for item in self._dead if item[1].pid not in told]
        return result

    def rest(self, limit: int, *, stopping: Cause | None) -> list[tuple[Process, Cause]]:
        """All deaths that are left, explained as well as can be."""
        return self.decided(limit, stopping=stopping, now=time.monotonic() + 2 * WAIT_SECONDS)

    def of_browser(self, code: int, limit: int, *, stopping: Cause | None) -> Cause:
        """Why the browser ended, from its exit code (negative: a signal)."""
        if stopping is not None:
            return stopping
        if code >= 0:
            return Ended(code)
        if -code == signal.SIGKILL and self.claim():
            return LowMemory(limit)
        return Signaled(-code)

    def _cause(
        self, process: Process, limit: int, *, stopping: Cause | None, waited: float
    ) -> Cause | None:
        """The cause; `None` while a source may still speak."""
        if isinstance(stopping, ForceStopped):
            return stopping
        if process.kind in _KINDS_KILLED and self.claim():
            if process.kind == "renderer":
                self._take_crash()
            return LowMemory(limit)
        if process.kind == "renderer" and (number := self._take_crash()):
            return Signaled(number)
        if process.kind == "gpu" and self._gpu_exits:
            number = self._gpu_exits.pop(0)
            return Signaled(number) if 0 < number < signal.NSIG else Ended(number)
        return NotNeeded() if waited > WAIT_SECONDS else None

    def _take_crash(self) -> int | None:
        """The oldest reported signal of a renderer, taken from the list."""
        while self._crashes:
            _, status, code = self._crashes.pop(0)
            if 0 < code < signal.NSIG:
                return code
            if status in {"killed", "oom"}:
                return int(signal.SIGKILL)
        return None
