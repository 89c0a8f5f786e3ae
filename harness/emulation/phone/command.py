"""The seam between the virtual phone's daemon and the Android behind it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pydantic import JsonValue


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
