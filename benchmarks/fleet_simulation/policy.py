"""What a lab chooses: the order of its requests, its care for health, how often it retries."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Order(StrEnum):
    """Which request of a profile is started first."""

    LONGEST = "longest first"  # by what it took before; what the project does
    FIFO = "as asked for"  # model by model, as a matrix is written
    RANDOM = "random"


class Health(StrEnum):
    """What happens after a fault of the lab."""

    NONE = "none"  # the next job at once
    CHECK = "check"  # recovery and a check first, every minute until one passes
    QUARANTINE = "quarantine"  # and a failed check means 15 minutes, doubled each time


@dataclass(frozen=True, slots=True)
class Policy:
    """The project's own choices are the defaults (`harness/fleet/config.py`, `[retries]`).

    Attributes:
        infra_retries: tries more of a request after faults of the lab.
        incomplete_retries: tries more after a worker, host or controller was lost.
        deadline_seconds: nothing is started after it.
    """

    order: Order = Order.LONGEST
    health: Health = Health.QUARANTINE
    infra_retries: int = 2
    incomplete_retries: int = 3
    deadline_seconds: float = 5 * 3600.0
