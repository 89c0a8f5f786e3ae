"""The requests of one profile: which waits, which goes next, which was given up."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks.fleet_simulation.policy import Order

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from benchmarks.fleet_simulation.lab import Request
    from benchmarks.fleet_simulation.policy import Policy

INFRA: Final = "infra"
INCOMPLETE: Final = "incomplete"


@dataclass(slots=True)
class Job:
    """A request and how often it was tried in vain, by cause."""

    request: Request
    rank: float
    tries: dict[str, int] = field(default_factory=lambda: {INFRA: 0, INCOMPLETE: 0})


class ProfileQueue:
    """What one profile has to do. Every request is pending, waiting, running or settled."""

    def __init__(self, requests: Iterable[Request], policy: Policy, chance: random.Random) -> None:
        self._policy = policy
        self._waiting: list[tuple[float, int, Job]] = []
        jobs = [Job(request, _rank(request, policy.order, chance)) for request in requests]
        self.pending = sorted(jobs, key=lambda job: job.request.asked_at, reverse=True)
        self.open = len(jobs)
        self.lost = 0

    def release(self, now: float) -> None:
        """Let in what was asked for until now."""
        while self.pending and self.pending[-1].request.asked_at <= now:
            self._push(self.pending.pop())

    def take(self) -> Job | None:
        """The next to be tried; `None` where nothing waits."""
        return heapq.heappop(self._waiting)[2] if self._waiting else None

    def settle(self) -> None:
        """One was recorded."""
        self.open -= 1

    def again(self, job: Job, cause: str) -> None:
        """A try was in vain: back to its old place, or given up where the budget is spent."""
        job.tries[cause] += 1
        budgets = {
            INFRA: self._policy.infra_retries,
            INCOMPLETE: self._policy.incomplete_retries,
        }
        if job.tries[cause] > budgets[cause]:
            self.open -= 1
            self.lost += 1
        else:
            self._push(job)

    def _push(self, job: Job) -> None:
        heapq.heappush(self._waiting, (job.rank, job.request.number, job))


def _rank(request: Request, order: Order, chance: random.Random) -> float:
    if order is Order.LONGEST:
        return -request.expected_seconds
    return float(request.number) if order is Order.FIFO else chance.random()
