"""What the scopes of all limiters share: identity, the join, the end."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Final, Self

from harness.emulation.limits import groups
from harness.emulation.limits.system import PARENT, System
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from harness.emulation.limits.base import Limits
    from harness.emulation.limits.claims import Claim, Record

# The shell writes its own PID to each file up to `--`, then becomes the command. "$$" is translated
# by the kernel from the writer's PID namespace.
_JOIN: Final = 'while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@"'
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def new_id(name: str) -> str:
    """A group name that starts like `name` and is unique."""
    readable = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:40] or "run"
    return f"{readable}-{secrets.token_hex(4)}"


def join_prefix(directories: Iterable[Path]) -> tuple[str, ...]:
    """The command prefix that joins these groups."""
    files = (str(directory / "cgroup.procs") for directory in directories)
    return ("/bin/sh", "-c", _JOIN, PARENT, *files, "--")


def check_kept(asked: int, kept: int | None) -> None:
    """The kernel rounds a memory limit down to whole pages; anything else is not the limit.

    Raises:
        UserError: the limit that stands is another one.
    """
    if kept is None or not asked - _PAGE < kept <= asked:
        raise UserError(
            f"the kernel keeps a memory limit of {kept} bytes where {asked} was written",
            "use a profile without a memory limit",
        )


class GroupScope:
    """A scope whose claim is held; subclasses read the counters of their kind of group."""

    def __init__(
        self, claim: Claim, limits: Limits, prefix: tuple[str, ...], system: System
    ) -> None:
        self._claim = claim
        self._limits = limits
        self._prefix = prefix
        self._system = system
        self._closed = False

    @property
    def record(self) -> Record:
        """What this scope made."""
        return self._claim.record

    @property
    def limiter(self) -> str:
        """The name of the limiter that made this scope."""
        return self.record.limiter

    @property
    def id(self) -> str:
        """The name of the group, unique on this machine."""
        return self.record.id

    @property
    def limits(self) -> Limits:
        """What was asked for."""
        return self._limits

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command."""
        return self._prefix

    def pids(self) -> set[int]:
        """The processes inside."""
        return groups.members(self.record.groups[:1])

    def _close_readings(self) -> None:
        """Take the last readings and close the files."""
        raise NotImplementedError

    def close(self) -> None:
        """Kill what is inside, remove the group.

        Raises:
            UserError: a process does not die.
        """
        if self._closed:
            return
        self._closed = True
        self._close_readings()
        groups.end(self._claim, self._system)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
