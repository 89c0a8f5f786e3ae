"""The seam between `am`, `pm`, the dumps, and an app that runs on the phone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.emulation.phone.android.state import Process


@dataclass(frozen=True, slots=True)
class Intent:
    """What `am start` and its like were asked for. `extras` are of all types, as text."""

    action: str | None = None
    data: str | None = None
    mime: str | None = None
    categories: tuple[str, ...] = ()
    component: str | None = None
    package: str | None = None
    flags: int = 0
    extras: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """As `Intent.toShortString` prints it."""
        parts = [
            self.action and f"act={self.action}",
            self.categories and f"cat=[{','.join(self.categories)}]",
            self.data and f"dat={self.data}",
            self.mime and f"typ={self.mime}",
            self.flags and f"flg=0x{self.flags:x}",
            self.package and f"pkg={self.package}",
            self.component and f"cmp={self.component}",
            self.extras and "(has extras)",
        ]
        return f"Intent {{ {' '.join(str(part) for part in parts if part)} }}"


class LaunchError(Exception):
    """The app could not be started; the message is for the log."""


class App(Protocol):
    """One app that can run."""

    @property
    def package(self) -> str:
        """Its package."""

    @property
    def pid(self) -> int | None:
        """Its main process; `None` while it does not run."""

    @property
    def activity(self) -> str:
        """`package/activity` of what it shows."""

    async def start(self, intent: Intent) -> bool:
        """Start it, or bring it to the front; whether it was a cold start.

        Raises:
            LaunchError: it does not start.
        """

    async def stop(self, *, by: int) -> None:
        """Force-stop: end all its processes; nothing when it does not run."""

    async def clear(self) -> None:
        """Forget what it stored. It does not run."""

    def processes(self) -> list[Process]:
        """What of it lives."""

    def signal(self, kind: str, number: int) -> int | None:
        """Send a signal to its newest process of that kind; its pid, or `None` for none such."""

    def screen_changed(self) -> None:
        """The screen, or the free storage, is another one now."""

    async def screenshot(self) -> bytes | None:
        """A PNG of what it shows; `None` where it shows nothing that can be drawn."""
