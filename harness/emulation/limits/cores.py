"""Which cores a group gets, and how much of them: pure functions.

The kernel writes core lists as `0-3,8` (cpuset(7), "List format").
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


@dataclass(frozen=True, slots=True)
class CpuPlan:
    """How "n cores" is enforced: on these cores only, and at most `quota` CPU seconds a second."""

    cores: tuple[int, ...] | None = None
    quota: float | None = None


def parse_cores(text: str) -> set[int]:
    """`0-2,5` -> {0, 1, 2, 5}; the empty list is the empty set."""
    cores: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return cores


def format_cores(cores: Iterable[int]) -> str:
    """{0, 1, 5} -> `0,1,5`: the kernel takes single cores as well as ranges."""
    return ",".join(str(core) for core in sorted(cores))


def choose_cores(allowed: Collection[int], count: int, taken: Iterable[int]) -> tuple[int, ...]:
    """The `count` cores that fewest groups already use (`taken` names a core once a group).

    Two limited browsers side by side would otherwise share the first cores and slow each other.
    """
    uses = Counter(taken)
    return tuple(sorted(sorted(allowed, key=lambda core: (uses[core], core))[:count]))


def plan_cpus(
    cpus: float | None,
    *,
    processors: int | None = None,
    allowed: Collection[int],
    taken: Iterable[int],
    controllers: Collection[str],
) -> CpuPlan:
    """How to enforce `cpus` with what there is of `cpuset` and `cpu`.

    Whole cores are pinned, because a page reads its core count from the cores it may run on
    (`navigator.hardwareConcurrency`). A quota is added where fewer are to be had than are seen:
    for a fraction, for more `processors` than `cpus`, and where nothing can be pinned.

    Raises:
        UserError: more cores are asked for than there are, or a controller is missing.
    """
    if cpus is None:
        return CpuPlan()
    seen = processors or math.ceil(cpus)
    if seen > len(allowed):
        raise UserError(
            f"{processors or cpus:g} cores were asked for and this process may use {len(allowed)}",
            "ask for fewer cores, or use a machine that has them",
        )
    pinned = "cpuset" in controllers
    fraction = seen != cpus
    if (fraction or not pinned) and "cpu" not in controllers:
        lacking = "cpu" if pinned else "cpu and the cpuset"
        raise UserError(
            f"{cpus:g} cores cannot be enforced: the {lacking} controller cannot be used here",
            "ask for a whole number of cores" if pinned else "use a profile without a CPU limit",
        )
    return CpuPlan(
        cores=choose_cores(allowed, seen, taken) if pinned else None,
        quota=cpus if fraction or not pinned else None,
    )
