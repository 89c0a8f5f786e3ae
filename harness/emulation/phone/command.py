"""The seam between the virtual phone's daemon and the Android behind it."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import JsonValue

    from harness.emulation.limits import Scope
    from harness.profiles import Profile


class CommandIO(Protocol):
    """A command's standard streams."""

    async def out(self, data: str | bytes) -> None:
        """Write to the standard output; waits while the reader is behind.

        Raises:
            BrokenPipeError: nobody reads any more; the command should end.
        """

    async def err(self, data: str | bytes) -> None:
        """Write to the standard error.

        Raises:
            BrokenPipeError: nobody reads any more; the command should end.
        """

    async def stdin(self) -> bytes:
        """The next piece of the standard input, and `b""` at its end."""


#: argv with the command's name first, and its streams -> exit code. It is cancelled when its
#: caller goes away (the shell is killed, the transport is lost).
Command = Callable[[Sequence[str], CommandIO], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an Android runs, once the daemon has closed itself in.

    `scope` is the memory group for the browser, made outside and usable inside: start the browser
    behind `scope.prefix`, read `scope.oom_kills()`, `memory()`, `pids()`; never close it. It lives
    through reboots, so counters go on. None where this host has no groups.

    `root` is where the phone's `/` is for this process: `/` when it is isolated. `private_network`
    says that ports and abstract sockets are the phone's own; otherwise they are the host's, and
    `abstract()` gives each phone names of its own. `identity` is unique on this machine.
    """

    profile: Profile
    identity: str
    root: Path
    private_network: bool
    scope: Scope | None
    unknown: Callable[[str], None]  # count a command or an option that nobody knows
    browser_sandbox: bool = True  # whether Chromium can close in its own processes here

    def path(self, phone_path: str) -> Path:
        """Where a path of the phone is for this process: never outside of `root`.

        Without isolation a shell may have made it the host's already.
        """
        if self.root == Path("/"):
            return Path("/", phone_path)
        path = Path(os.path.normpath("/" + phone_path.lstrip("/")))
        return path if path.is_relative_to(self.root) else self.root / path.relative_to("/")

    def abstract(self, name: str) -> str:
        """The real name (without the leading zero byte) of an abstract socket of the phone."""
        return name if self.private_network else f"{name}.{self.identity}"


class Android(Protocol):
    """What answers behind the daemon: properties, commands, an app or two."""

    @property
    def properties(self) -> dict[str, str]:
        """System properties, as `getprop` shows them."""

    @property
    def commands(self) -> Mapping[str, Command]:
        """Commands that are not programs, by name."""

    async def start(self) -> None:
        """Boot: called after isolation, inside the namespaces, and again after a reboot.

        Returns as soon as the phone answers; `sys.boot_completed` may come later.
        """

    async def stop(self) -> None:
        """End everything that was started. Called before a reboot and at the end."""

    async def control(self, action: str, arguments: Mapping[str, JsonValue]) -> JsonValue:
        """Do one of its own control actions.

        Raises:
            UserError: there is no such action, or its arguments are not right.
        """


class AndroidFactory(Protocol):
    """`harness.emulation.phone.android.system` as a module: how the daemon gets its Android."""

    def host_paths(self, profile: Profile) -> Sequence[Path]:
        """What of the host the phone's programs read: the browser's folder, recorded dumps.

        They are there inside, read-only, under the same paths, beside the system's folders and
        Python's own. Called before isolation.
        """

    def create(self, place: Place) -> Android:
        """The Android of one phone; called inside, on the running loop, before `start`."""
