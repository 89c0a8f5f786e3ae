"""The memory and CPU group around what an app runs: the kernel's limit stands for lmkd's."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from harness.emulation.limits.scopes import GroupScope
from harness.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    from harness.emulation.limits import Scope

# (the limit, memory with swap) as cgroup v1 and v2 name them. v2 counts swap apart, and it is off.
_FILES: Final = (
    ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    ("memory.max", None),
)


_CLAIM_SECONDS: Final = 5.0


class MemoryGroup:
    """A scope, or its absence: then nothing is limited and no kill is counted.

    Args:
        scope: the group, whose limit is `limit`; it is its maker's to close.
        limit: bytes that one app may use.
    """

    def __init__(self, scope: Scope | None, limit: int) -> None:
        self._scope = scope
        self.limit = limit
        self._seen = scope.oom_kills() if scope else 0
        self._unclaimed: list[float] = []

    @property
    def limited(self) -> bool:
        """Whether the limit holds."""
        return self._scope is not None and self._scope.limits.memory_bytes is not None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command that is to run inside."""
        return self._scope.prefix if self._scope else ()

    def used(self) -> int:
        """Bytes inside that the kernel cannot drop."""
        return self._scope.memory().unreclaimable if self._scope else 0

    def pids(self) -> set[int] | None:
        """The processes inside; `None` where there is no group to tell them."""
        return self._scope.pids() if self._scope else None

    def look(self) -> bool:
        """Read the kernel's counter; whether there are kills that no death accounts for yet.

        A kill that nobody claims within a few seconds was none of an app's processes.
        """
        if self._scope is None:
            return False
        count, now = self._scope.oom_kills(), time.monotonic()
        self._unclaimed += [now] * max(count - self._seen, 0)
        self._seen = count
        self._unclaimed = [at for at in self._unclaimed if now - at < _CLAIM_SECONDS]
        return bool(self._unclaimed)

    def claim(self) -> bool:
        """Whether a memory kill is left that explains one more death; it explains no other."""
        if not self.look():
            return False
        self._unclaimed.pop(0)
        return True

    def resize(self, size: int) -> None:
        """Set another limit, at once and for what runs inside.

        Raises:
            UserError: there is no limit to change, or the kernel refuses.
        """
        scope: object = self._scope
        if not (self.limited and isinstance(scope, GroupScope)):
            raise UserError(
                "this virtual phone has no memory limit to change",
                "run as root, or where a group can be made: `tierlab doctor` says what is missing",
            )
        for folder in scope.record.groups:
            for limit, with_swap in _FILES:
                if (folder / limit).exists():
                    _resize(folder, limit, with_swap, size)
        self.limit = size


def _resize(folder: Path, limit: str, with_swap: str | None, size: int) -> None:
    files = [folder / name for name in (limit, with_swap) if name is not None]
    files = [file for file in files if file.exists()]
    # The sum with swap may never be the smaller one: the order depends on the direction.
    current = files[0].read_text(encoding="ascii").strip()
    growing = current.isdecimal() and int(current) < size
    try:
        for file in reversed(files) if growing else files:
            file.write_text(str(size), encoding="ascii")
    except OSError as error:
        with suppress(OSError):  # leave both at what they were
            for file in files:
                file.write_text(current, encoding="ascii")
        raise UserError(
            f"the kernel refuses a limit of {size} bytes: {error.strerror}",
            "give more than what is in use, or stop the app first",
        ) from error
