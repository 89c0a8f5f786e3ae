"""The tries of a job, as the journal of the controller tells of them: what came of each, and where.

A try that began and never ended was lost with its worker, its host or the controller. Nothing else
needs to be known of how: whoever begins the next try sees that the last one has no end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from results.fleet.events import Event, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

    from harness.fleet.config import Retries
    from results.fleet.requests import Request


class Outcome(StrEnum):
    """How a try ended."""

    DONE = "done"
    """With a statement about the device, good or bad."""
    INFRA = "infra"
    """By a fault of the lab's own."""
    UNAVAILABLE = "unavailable"
    """It did not begin, as the device could not be used: nobody's try."""
    DEADLINE = "deadline"
    """The time of the run was over."""
    GIVEN_UP = "given-up"
    """A budget is used up, or the job cannot be run at all."""


_BEGAN: Final = "began"
_ENDED: Final = "ended"
_LOST: Final = "lost"


@dataclass
class Tries:
    """The tries of one job, from the first event on."""

    began: dict[str, Event] = field(default_factory=dict)
    """What told of each beginning, by the id of the try."""
    ended: dict[str, Outcome] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Those of which it was told that they were lost; they have no end."""

    @property
    def incomplete(self) -> int:
        """How many have no end. One that goes on now is among them."""
        return sum(name not in self.ended for name in self.began)

    @property
    def infra(self) -> int:
        """How many ended with a fault of the lab's own."""
        return sum(outcome is Outcome.INFRA for outcome in self.ended.values())

    @property
    def number(self) -> int:
        """Which number the next try has, from 1."""
        return 1 + sum(self.ended.get(name) is not Outcome.UNAVAILABLE for name in self.began)

    @property
    def troubled(self) -> set[str]:
        """The workers on which a try came to nothing; others of the profile go first."""
        good = {Outcome.DONE}
        return {
            event.resource
            for name, event in self.began.items()
            if event.resource is not None and self.ended.get(name) not in good
        }

    def exhausted(self, retries: Retries) -> str | None:
        """Why there is no other try, in words; `None` where there is one."""
        for what, used, budget in (
            ("ended by faults of the lab", self.infra, retries.infra),
            ("lost with their worker, host or controller", self.incomplete, retries.incomplete),
        ):
            if used > budget:
                return f"tries {what}: {used}, and the budget is {budget}"
        return None


class TriesBook:
    """The tries of all jobs; what was written into the journal is told to it as well."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._book: dict[str, Tries] = {}
        for event in events:
            self.note(event)

    def of(self, job: str) -> Tries:
        """The tries of a job; none yet for one that is not known."""
        return self._book.get(job) or Tries()

    def open(self) -> list[Event]:
        """The beginnings of all tries of which neither an end nor a loss was told."""
        return [
            event
            for tries in self._book.values()
            for name, event in tries.began.items()
            if name not in tries.ended and name not in tries.lost
        ]

    def note(self, event: Event) -> None:
        """Take up an event; those that are none of a job's change nothing."""
        detail = event.detail
        job, name = detail.get("job"), detail.get("try")
        if event.kind is not EventKind.JOB or not isinstance(job, str) or not isinstance(name, str):
            return
        tries = self._book.setdefault(job, Tries())
        match detail.get("phase"):
            case "began":
                tries.began[name] = event
            case "lost":
                tries.lost.add(name)
            case "ended" if detail.get("outcome") in set(Outcome):
                tries.ended[name] = Outcome(str(detail["outcome"]))


def lost(began: Event, cause: str, *, host: str) -> Event:
    """The event of a try that was lost, by the event of its beginning; it has no other end.

    Args:
        began: what told of its beginning.
        cause: what it was lost with, such as `its worker`.
        host: the machine of the controller.
    """
    what, _, _ = began.text.rpartition(": ")
    return Event.now(
        EventKind.JOB,
        f"{what}: lost with {cause}; queued again",
        host=host,
        run_id=began.run_id,
        resource=began.resource,
        profile=began.profile,
        **{**began.detail, "phase": _LOST},
    )


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a job.

    Attributes:
        request: the trial that is asked for.
        job: the name of the job; a plan that is made again has jobs of its own.
        name: unique among all tries.
        worker: on which worker.
        host: the machine of the controller.
    """

    request: Request
    job: str
    name: str
    worker: str
    host: str

    def began(self, number: int) -> Event:
        """The event of its beginning, now; `number`: which try of the job it is, from 1."""
        return self._event(f"try {number} begins on {self.worker}", phase=_BEGAN, number=number)

    def ended(self, outcome: Outcome, text: str) -> Event:
        """The event of its end, now."""
        return self._event(f"{outcome}: {text}", phase=_ENDED, outcome=str(outcome))

    def _event(self, text: str, **detail: JsonValue) -> Event:
        request = self.request
        return Event.now(
            EventKind.JOB,
            f"{request.profile} {request.workload.weights} on {request.workload.runtime}: {text}",
            host=self.host,
            run_id=request.run_id,
            resource=self.worker,
            profile=request.profile,
            request_id=request.request_id,
            job=self.job,
            worker=self.worker,
            **{"try": self.name},
            **detail,
        )
