"""The seam: limits, a limiter that can set them, and the scope around one browser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from harness.errors import UserError

if TYPE_CHECKING:
    from types import TracebackType

# The kernel refuses a quota under 1 ms a period, and the period here is 100 ms.
_LEAST_CPUS = 0.01


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process tree may use; None is no limit.

    `memory_bytes` counts what the kernel charges to a group: anonymous and shared memory, the page
    cache, kernel memory; swap is shut off. `cpus` is in cores: 2 pins to two cores, 1.5 pins to two
    and lets them work 1.5 seconds a second. `processors` pins to more cores than that takes: with
    `cpus` 1 and `processors` 2, two threads run side by side for half of the time each.
    """

    memory_bytes: int | None = None
    cpus: float | None = None
    processors: int | None = None

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise UserError(
                f"a memory limit of {self.memory_bytes} bytes makes no sense", "give at least 1"
            )
        if self.cpus is not None and not (_LEAST_CPUS <= self.cpus < math.inf):
            raise UserError(
                f"a limit of {self.cpus} cores makes no sense", f"give at least {_LEAST_CPUS}"
            )
        if self.processors is not None and self.processors < (self.cpus or math.inf):
            raise UserError(
                f"{self.processors} processors cannot give {self.cpus or 'an unlimited number of'}"
                " cores of work",
                "give cpus as well, and at least as many processors",
            )


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes charged to a scope.

    `current` and `peak` include the page cache, which the kernel drops before it kills;
    `unreclaimable` (anonymous and shared memory) is what it cannot drop. `peak` is the kernel's own
    high-water mark; with `peak_sampled` there is none (cgroup v2 before Linux 5.19) and it is the
    largest `current` that was read.
    """

    current: int
    peak: int
    unreclaimable: int
    peak_sampled: bool = False


class Scope(Protocol):
    """One fresh group around one process tree. Readings stay at their last value when it ends."""

    @property
    def limiter(self) -> str:
        """`cgroup-v1`, `cgroup-v2` or `systemd-run`."""

    @property
    def id(self) -> str:
        """The name of the group, unique on this machine."""

    @property
    def limits(self) -> Limits:
        """What was asked for."""

    @property
    def prefix(self) -> tuple[str, ...]:
        """Goes before a command: the process joins the group, then becomes the command (same PID).

        A process that cannot join exits with 125 and never becomes the command.
        """

    def oom_kills(self) -> int:
        """Processes of the group that the kernel's OOM killer took; costs one pread."""

    def memory(self) -> MemoryUse:
        """What is charged to the group."""

    def cpu_seconds(self) -> float:
        """CPU time of the group, processes that have ended included."""

    def throttled_seconds(self) -> float | None:
        """Time that the quota held the group back; None where no quota is set."""

    def pids(self) -> set[int]:
        """The processes inside, as this process numbers them."""

    def close(self) -> None:
        """Kill what is inside, remove the group; a second call does nothing.

        Blocks up to 10 s: from asyncio, call it in a thread.

        Raises:
            UserError: a process does not die; `sweep` will try again.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Limiter(Protocol):
    """A way to set limits on this machine."""

    @property
    def name(self) -> str:
        """`cgroup-v1`, `cgroup-v2` or `systemd-run`."""

    def scope(self, name: str, limits: Limits) -> Scope:
        """A fresh group with these limits; `name` becomes part of its id.

        Raises:
            UserError: the limits cannot be set, and why. Nothing is left behind.
        """
