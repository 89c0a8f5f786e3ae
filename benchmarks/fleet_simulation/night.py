"""One night, simulated: a worker a phone takes the requests of its profile, one after the other.

At least once, as the lab does it: a try that was cut off is made again, and only a try that came to
its end makes a record. Workers, hosts and the controller can be lost at given times.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import simpy

from benchmarks.fleet_simulation.outcome import Outcome, lower_bound
from benchmarks.fleet_simulation.phone import LivePhone
from benchmarks.fleet_simulation.queueing import INCOMPLETE, INFRA, Job, ProfileQueue

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from benchmarks.fleet_simulation.lab import Lab, Phone
    from benchmarks.fleet_simulation.parameters import Parameters
    from benchmarks.fleet_simulation.policy import Policy

    Steps = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Loss:
    """Workers that go away together.

    Attributes:
        at: seconds into the night.
        phones: whose workers; the numbers of the phones.
        away_seconds: until they work again.
        seen_after: until the controller knows, and gives their jobs to others.
    """

    at: float
    phones: tuple[int, ...]
    away_seconds: float
    seen_after: float


class Night:
    """Runs one night; `run()` once."""

    def __init__(
        self,
        lab: Lab,
        policy: Policy,
        parameters: Parameters,
        *,
        seed: int,
        losses: Iterable[Loss] = (),
    ) -> None:
        self._lab = lab
        self._policy = policy
        self._parameters = parameters
        self._seed = seed
        self._losses = tuple(losses)
        self._env = simpy.Environment()
        links = parameters.usb_links
        self._usb = [simpy.Resource(self._env, capacity=links) for _ in range(lab.hosts)]
        self._controller = simpy.Resource(self._env) if parameters.dispatch_seconds else None
        chance = random.Random(f"order {seed}")  # noqa: S311 - no secret
        self._queues = [ProfileQueue(asked, policy, chance) for asked in lab.requests]
        self._changed = [self._env.event() for _ in self._queues]
        self._workers: dict[int, simpy.Process] = {}
        self.outcome = Outcome(
            requested=sum(map(len, lab.requests)),
            lower_bound=lower_bound(lab, parameters),
            phones=len(lab.phones),
        )

    def run(self) -> Outcome:
        """From the first request until nothing is left to do or to wait for."""
        for number, queue in enumerate(self._queues):
            self._env.process(self._arrivals(number, queue))
        for phone in self._lab.phones:
            self._workers[phone.number] = self._env.process(self._worker(phone))
        for loss in self._losses:
            self._env.process(self._lose(loss))
        self._env.run()
        outcome = self.outcome
        outcome.lost = sum(queue.lost for queue in self._queues)
        outcome.not_reached = outcome.requested - outcome.recorded - outcome.lost
        return outcome

    def _arrivals(self, number: int, queue: ProfileQueue) -> Steps:
        queue.release(self._env.now)
        while queue.pending:
            yield self._env.timeout(queue.pending[-1].request.asked_at - self._env.now)
            queue.release(self._env.now)
            self._wake(number)

    def _wake(self, profile: int) -> None:
        """Whoever waits for work of the profile looks again."""
        self._changed[profile].succeed()
        self._changed[profile] = self._env.event()

    def _lose(self, loss: Loss) -> Steps:
        yield self._env.timeout(loss.at)
        for number in loss.phones:
            worker = self._workers[number]
            if worker.is_alive:
                worker.interrupt(loss)

    def _worker(self, phone: Phone) -> Steps:
        """A worker's whole night. A loss anywhere in it means: away, and then on."""
        chance = random.Random(f"phone {self._seed} {phone.number}")  # noqa: S311 - no secret
        live = LivePhone(phone, self._policy.health, self._parameters, chance)
        queue = self._queues[phone.profile]
        yield self._env.timeout(0)  # after what is asked for at the start has come in
        while queue.open and self._env.now < self._policy.deadline_seconds:
            job: Job | None = None
            began = self._env.now
            try:
                yield from self._until_admitted(live, queue)
                job = queue.take() if self._left() else None
                began = self._env.now
                if job is None:
                    yield self._changed[phone.profile] | self._env.timeout(self._left())
                else:
                    yield from self._try(job, live)
            except simpy.Interrupt as interrupt:
                loss = _loss(interrupt)
                if job is not None:
                    self._in_vain(began)
                    self._env.process(self._noticed(job, phone.profile, loss.seen_after))
                yield from self._away(loss)

    def _left(self) -> float:
        return max(0.0, self._policy.deadline_seconds - self._env.now)

    def _away(self, loss: Loss) -> Steps:
        until = self._env.now + loss.away_seconds
        while self._env.now < until:
            try:
                yield self._env.timeout(until - self._env.now)
            except simpy.Interrupt as interrupt:
                until = max(until, self._env.now + _loss(interrupt).away_seconds)

    def _noticed(self, job: Job, profile: int, seconds: float) -> Steps:
        yield self._env.timeout(seconds)
        self._queues[profile].again(job, INCOMPLETE)
        self.outcome.tries[INCOMPLETE] += 1
        self._wake(profile)

    def _until_admitted(self, live: LivePhone, queue: ProfileQueue) -> Steps:
        """Quarantine, recovery and checks, until the phone may take a job or none will come."""
        while queue.open and (left := self._left()) > 0:
            wait = live.wait_seconds(self._env.now)
            if wait > 0:
                yield self._env.timeout(min(wait, left))
                continue
            if not live.needs_check():
                return
            seconds, pause = live.checked(self._env.now)
            self.outcome.mending += seconds
            yield self._env.timeout(seconds + pause)

    def _try(self, job: Job, live: LivePhone) -> Steps:
        """One try of a job: dispatched, its file sent, and the rest; or a fault in between."""
        began = self._env.now
        if self._controller is not None:
            with self._controller.request() as turn:
                yield turn
                yield self._env.timeout(self._parameters.dispatch_seconds)
        request, profile = job.request, live.phone.profile
        queue = self._queues[profile]
        fault = live.fault_after(request.seconds, self._env.now)
        if fault is not None:
            yield self._env.timeout(fault)
            live.failed(self._env.now)
            self._in_vain(began)
            queue.again(job, INFRA)
            self.outcome.tries[INFRA] += 1
            self._wake(profile)
            return
        usb_began = self._env.now
        if request.file_bytes:
            with self._usb[live.phone.host].request() as turn:
                yield turn
                yield self._env.timeout(request.file_bytes / self._parameters.usb_bytes_per_s)
        self.outcome.usb_wait += self._env.now - usb_began
        yield self._env.timeout(request.seconds)
        live.succeeded()
        self._record(job, queue, began)
        if not queue.open:
            self._wake(profile)

    def _in_vain(self, began: float) -> None:
        self.outcome.wasted += self._env.now - began

    def _record(self, job: Job, queue: ProfileQueue, began: float) -> None:
        outcome, now = self.outcome, self._env.now
        queue.settle()
        outcome.recorded += 1
        outcome.tries["recorded"] += 1
        outcome.work += job.request.seconds
        outcome.queue_wait += began - job.request.asked_at
        outcome.late += now > self._policy.deadline_seconds
        outcome.makespan = max(outcome.makespan, now)


def _loss(interrupt: simpy.Interrupt) -> Loss:
    """What a worker was interrupted by; nothing else interrupts one."""
    if not isinstance(interrupt.cause, Loss):
        raise TypeError(f"a worker was interrupted by {interrupt.cause!r}")
    return interrupt.cause
