"""The seams between a trial and the device it runs on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Any

    from pydantic import JsonValue

    from harness.evidence import Timeline
    from harness.profiles import Profile

    PageEvent = dict[str, Any]
    OnEvent = Callable[[PageEvent], None]


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the harness itself can say of a device, before any page runs there."""

    host: str
    operating_system: str
    cpu: str
    cores: int
    memory_bytes: int
    browser: str
    browser_version: str
    load_average: float | None = None
    temperature_celsius: float | None = None
    emulated: bool = False
    limiter: str | None = None
    extra: dict[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition that must hold before a trial begins. A closed gate is `infra`."""

    name: str
    passed: bool
    observed: str
    limit: str


@dataclass(frozen=True, slots=True)
class MemorySample:
    """Resident bytes of the largest process of each kind, `at_seconds` into the trial."""

    at_seconds: float
    processes: dict[str, int]
    group_bytes: int | None = None


class Tab(Protocol):
    """One page on a device. It may die at any moment; nothing waits inside a call into it."""

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        """Call a global function of the page, which must answer within `within` seconds.

        Raises:
            TabLostError: the page is gone, or did not answer in time.
        """

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:
        """Pick files in the page's file input, as its user would.

        Raises:
            TabLostError: the page is gone, or has no such input.
        """

    async def screenshot(self, path: Path) -> bool:
        """Write a PNG; False where the page is too dead to be drawn."""

    async def close(self) -> None:
        """Close the page. Never raises for a page that is dead already."""


class Watched(Protocol):
    """A browser or an engine's process, watched from all sides while it is open."""

    def memory_curve(self) -> list[MemorySample]:
        """The samples so far."""

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        """Peak bytes of the largest process of each kind, and of the whole group."""

    def cpu_seconds(self) -> float | None:
        """CPU time of all processes so far."""

    def throttled_seconds(self) -> float | None:
        """Time for which a CPU limit held the processes back."""

    async def settle(self) -> None:
        """After a death: gather what the other sources say of it. Bounded to a second."""


class Session(Watched, Protocol):
    """One browser, started fresh for one purpose."""

    async def open_tab(self, url: str, on_event: OnEvent) -> Tab:
        """Open a page; what it emits arrives at `on_event`.

        Raises:
            TabLostError: the page could not be opened.
        """

    async def renew(self, timeline: Timeline) -> None:
        """Close the pages, keep what they stored, and tell `timeline` what happens from now on.

        So that one load can follow another in the same browser without its evidence.
        """


class Child(Watched, Protocol):
    """One process for an engine outside of a browser."""

    async def start(self, module: str, job: dict[str, JsonValue], on_event: OnEvent) -> None:
        """Start `python -m MODULE` on a job, once; what it emits arrives at `on_event`.

        Raises:
            OSError: the process could not be started.
        """


class Device(Protocol):
    """The live thing a lease was taken on."""

    profile: Profile

    async def facts(self) -> HostFacts:
        """What the harness can say without a page."""

    async def gates(self) -> list[Gate]:
        """The conditions that must hold before a trial."""

    async def rest(self) -> bool:
        """Wait, within bounds, until nothing else keeps the device busy; whether that came.

        What runs beside a measurement is measured with it: a browser that just started or ended
        made the same probe five times slower.
        """

    def session(
        self, timeline: Timeline, folder: Path, *, persistent: Path | None = None
    ) -> AbstractAsyncContextManager[Session]:
        """A fresh browser whose deaths go to `timeline` and whose raw logs go to `folder`.

        With `persistent`, the folder of a profile (made when missing), it is a user's ordinary
        window: what pages store is on disk, and there again in the next session on that folder.
        Without, it is a private window, and storage is memory.
        """

    def child(self, timeline: Timeline, folder: Path) -> AbstractAsyncContextManager[Child]:
        """A process for an engine outside of a browser, limited and watched like a browser."""

    async def recover(self) -> None:
        """Bring the device back after an infrastructure fault."""

    async def overtaken(self) -> str | None:
        """Why the device is no longer this run's alone, or None.

        What was measured since then says nothing. A lease that is a lock of this machine cannot be
        lost while its owner lives; one that is noted on the device can.
        """


@runtime_checkable
class BugReporter(Protocol):
    """A device that can make a full report of its state, which takes minutes."""

    async def bug_report(self, path: Path, progress: Callable[[str], None]) -> str | None:
        """Write it to `path`; why there is none, or `None`. It holds personal data."""


@runtime_checkable
class Answering(Protocol):
    """A device that answers without a browser, so that the one can be told from the other."""

    async def answers(self) -> str | None:
        """Ask it for a word; why it does not answer, or `None`."""


class DeviceLostError(Exception):
    """The device itself cannot be reached any more: no statement about it, the lab's fault."""


class HeldElsewhereError(UserError):
    """Another host has the device: it is to be left alone until that run ends."""


class LeaseLostError(DeviceLostError):
    """Another run has the device now: it is to be left alone, and there is nothing to mend."""


class TabLostError(Exception):
    """A page is gone, or cannot be reached. The timeline holds the reason, if any is known."""
