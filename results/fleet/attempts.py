"""Attempts: the invocations of pytest that a run consists of, as the journal tells them.

An attempt without an end is incomplete: it goes on, or was killed. Nothing of it counts but the
records that it left.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from results.fleet.events import Event, EventKind, events
from results.record import Part

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from results.store import Store

COMPLETE: Final = "complete"
INCOMPLETE: Final = "incomplete"
STOPPED: Final = "stopped"
"""Somebody, or its deadline, ended it before all was done."""

_BEGAN: Final = "began"
_ENDED: Final = "ended"


class _Began(Part):
    phase: str
    attempt_id: str
    number: int = 1
    devices: tuple[str, ...] = ()
    request_ids: tuple[str, ...] = ()


class _Ended(Part):
    phase: str
    attempt_id: str
    outcome: str = COMPLETE
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One invocation.

    Attributes:
        attempt_id: unique among all hosts.
        number: which try of its job it was, as the one who started it counts; from 1.
        host: where.
        began_at: when it began.
        ended_at: when it ended; `None` for one that goes on or was killed.
        outcome: `complete`, or why not: `stopped`, or `incomplete` where nobody told its end.
        exit_code: that of pytest, where it is known.
        devices: what it was for: resources, or profiles.
        request_ids: which requests it set out to fulfil.
    """

    attempt_id: str
    number: int
    host: str
    began_at: datetime
    ended_at: datetime | None
    outcome: str
    exit_code: int | None
    devices: tuple[str, ...]
    request_ids: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether it came to its end in order."""
        return self.outcome == COMPLETE


def began(
    run_id: str,
    attempt_id: str,
    *,
    number: int = 1,
    devices: Iterable[str] = (),
    request_ids: Iterable[str] = (),
    text: str = "",
    host: str | None = None,
) -> Event:
    """The event of an attempt that begins now.

    Args:
        run_id: the run.
        attempt_id: unique among all hosts.
        number: which try of its job it is, from 1.
        devices: what it is for.
        request_ids: which requests it sets out to fulfil.
        text: one line for a reader; made from the devices where it is empty.
        host: where; here where it is not said.
    """
    names = list(devices)
    return Event.now(
        EventKind.ATTEMPT,
        text or f"attempt {number} begins on {', '.join(names) or 'no device'}",
        host=host,
        run_id=run_id,
        phase=_BEGAN,
        attempt_id=attempt_id,
        number=number,
        devices=[*names],
        request_ids=[*request_ids],
    )


def ended(
    run_id: str,
    attempt_id: str,
    *,
    exit_code: int | None = None,
    outcome: str = COMPLETE,
    text: str = "",
    host: str | None = None,
) -> Event:
    """The event of an attempt that ends now.

    Args:
        run_id: the run.
        attempt_id: the attempt.
        exit_code: that of pytest, where it is known.
        outcome: `complete`, or `incomplete` from somebody who saw it die.
        text: one line for a reader; made from the outcome where it is empty.
        host: where; here where it is not said.
    """
    code = "" if exit_code is None else f", exit code {exit_code}"
    return Event.now(
        EventKind.ATTEMPT,
        text or f"attempt ends: {outcome}{code}",
        host=host,
        run_id=run_id,
        phase=_ENDED,
        attempt_id=attempt_id,
        outcome=outcome,
        exit_code=exit_code,
    )


def attempts(store: Store, run_id: str) -> list[Attempt]:
    """The attempts of a run, in the order in which they began.

    Raises:
        StoreError: the store cannot be read, or an event does not follow its schema.
    """
    return attempts_of(events(store, run_id=run_id, kinds=[EventKind.ATTEMPT]))


def unfinished(store: Store) -> frozenset[str]:
    """The ids of all attempts without an end. Lines that cannot be read are left out.

    Raises:
        StoreError: the store cannot be read.
    """
    told = []
    query = "SELECT body FROM events WHERE kind = ? ORDER BY at, event_id"
    for (body,) in store.each(query, (str(EventKind.ATTEMPT),)):
        with contextlib.suppress(ValidationError):
            told.append(Event.model_validate_json(body))
    return frozenset(one.attempt_id for one in attempts_of(told) if one.outcome == INCOMPLETE)


def attempts_of(told: Iterable[Event]) -> list[Attempt]:
    """The attempts that events tell of. Events must be in the order of their times.

    The first to tell of a beginning or an end is believed; an end that is told by the attempt
    itself is more than that of somebody who took it for dead.
    """
    begun: dict[str, tuple[Event, _Began]] = {}
    over: dict[str, tuple[Event, _Ended]] = {}
    for event in told:
        # A line of somebody else's making that is no such thing stays in the journal, no more.
        with contextlib.suppress(ValidationError):
            phase = event.detail.get("phase")
            if phase == _BEGAN:
                beginning = _Began.model_validate(event.detail)
                begun.setdefault(beginning.attempt_id, (event, beginning))
            elif phase == _ENDED:
                end = _Ended.model_validate(event.detail)
                before = over.get(end.attempt_id)
                if before is None or before[1].outcome == INCOMPLETE != end.outcome:
                    over[end.attempt_id] = (event, end)
    return [
        _attempt(event, beginning, over.get(beginning.attempt_id))
        for event, beginning in begun.values()
    ]


def _attempt(event: Event, beginning: _Began, over: tuple[Event, _Ended] | None) -> Attempt:
    return Attempt(
        attempt_id=beginning.attempt_id,
        number=beginning.number,
        host=event.host,
        began_at=event.at,
        ended_at=over[0].at if over else None,
        outcome=over[1].outcome if over else INCOMPLETE,
        exit_code=over[1].exit_code if over else None,
        devices=beginning.devices,
        request_ids=beginning.request_ids,
    )
