"""The story of a run: what was asked for, what came of it, who tried when, and what is missing."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from results.fleet.attempts import attempts
from results.fleet.events import EventKind, events
from results.fleet.requests import progress, requests
from results.fleet.suite_tests import not_reached
from results.query import NO_STATEMENT
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from rich.console import Console

    from results.fleet.attempts import Attempt
    from results.fleet.events import Event
    from results.fleet.requests import Progress, Request
    from results.fleet.suite_tests import SuiteTest
    from results.store import Store

# Of longer lists the rest is counted, unless the whole story is asked for.
_SHOWN: Final = 20

_OF_THE_LAB: Final = (EventKind.WORKER, EventKind.CONTROLLER)


class Try(NamedTuple):
    """One trial of a request, as far as the story tells it."""

    trial_id: str
    request_id: str
    verdict: str
    explanation: str
    host: str
    attempt_id: str
    retry_of: str | None
    superseded: int
    started_at: str

    @property
    def states(self) -> bool:
        """Whether it says something of the device."""
        return self.verdict not in NO_STATEMENT


def print_story(console: Console, store: Store, run_id: str, *, full: bool = False) -> bool:
    """Print the story of a run; nothing where nobody kept one.

    Args:
        console: where to.
        store: where the run is.
        run_id: which run.
        full: all of it, with every event.

    Returns:
        Whether there was one.

    Raises:
        StoreError: the store cannot be read.
    """
    state, tried, told = progress(store, run_id), attempts(store, run_id), tries(store, run_id)
    tests = not_reached(store, run_id)
    happened = what_happened(store, run_id) if full else []
    if not (state.requested or tried or tests or happened):
        return False
    most = None if full else _SHOWN
    _lines(console, [summary(state, tried, told)])
    _lines(console, open_requests(state, tried, told), most)
    _lines(console, [f"not reached: {_of_test(test)}" for test in tests], most)
    shown = list(tried) if full or len(tried) <= _SHOWN else [t for t in tried if not t.complete]
    if shown and (full or len(tried) > 1 or not tried[0].complete):
        console.print(attempts_table(shown))
    _lines(console, lineages(requests(store, run_id), told), most)
    for event in happened:
        where = " ".join(filter(None, (event.host, event.resource)))
        _lines(console, [f"{_time(event.at)}  {where}  {event.kind}: {event.text}"])
    if not full:
        _lines(console, [f"-> `tierlab runs show {run_id} --story` tells every event"])
    return True


def what_happened(store: Store, run_id: str) -> list[Event]:
    """The events of a run, and between its first and its last those of the lab as a whole.

    A worker that was lost, or a controller that started again, is nobody's run's own.

    Raises:
        StoreError: the store cannot be read.
    """
    own = events(store, run_id=run_id)
    if not own:
        return []
    lab = events(store, kinds=_OF_THE_LAB, since=own[0].at)
    known = {event.event_id for event in own}
    meanwhile = [e for e in lab if e.at <= own[-1].at and e.event_id not in known]
    return sorted([*own, *meanwhile], key=lambda event: (event.at, event.event_id))


def tries(store: Store, run_id: str) -> list[Try]:
    """The trials of a run that belong to requests, the oldest first; also what was set aside.

    Raises:
        StoreError: the store cannot be read.
    """
    return [Try._make(row) for row in store.read(_TRIES, (run_id, run_id))]


_LOOKED_INTO: Final = (
    "body ->> '$.verdict', body ->> '$.explanation', body ->> '$.device.host',"
    " body ->> '$.lineage.attempt_id', body ->> '$.lineage.retry_of'"
)
_TRIES: Final = (
    f"SELECT trial_id, request_id, {_LOOKED_INTO}, 0, started_at FROM records"  # noqa: S608 - our own
    " WHERE run_id = ? AND request_id IS NOT NULL UNION ALL"
    f" SELECT trial_id, request_id, {_LOOKED_INTO}, 1, started_at FROM superseded"
    " WHERE run_id = ? ORDER BY started_at, trial_id"
)


def summary(state: Progress, tried: Sequence[Attempt], told: Sequence[Try]) -> str:
    """The run in one line."""
    once = ", each once" if state.recorded else ""
    parts = [f"{_count(state.requested, 'trial')} requested, {state.recorded:,} recorded{once}"]
    if state.open:
        parts.append(f"{len(state.open):,} open")
    incomplete = sum(not one.complete for one in tried)
    lost = f": {incomplete:,} incomplete" if incomplete else ""
    parts.append(f"{_count(len(tried), 'attempt')}{lost}")
    faults = sum(not one.states for one in told)
    if faults:
        parts.append(f"{_count(faults, 'fault')} of the lab")
    if state.superseded:
        parts.append(f"{state.superseded:,} set aside as superseded")
    return "; ".join(parts)


def open_requests(state: Progress, tried: Sequence[Attempt], told: Sequence[Try]) -> list[str]:
    """What is missing and why, a line a request."""
    last_fault = {one.request_id: one for one in told if not one.states}
    last_attempt = {name: one for one in tried for name in one.request_ids}
    lines = []
    for request in state.lab_faults:
        fault = last_fault[request.request_id]
        lines.append(
            f"open: {request_name(request)}: only faults of the lab, the last on {fault.host}:"
            f" {fault.explanation}"
        )
    for request in state.missing:
        attempt = last_attempt.get(request.request_id)
        lines.append(f"open: {request_name(request)}: {_why_no_record(attempt)}")
    return lines


def _why_no_record(attempt: Attempt | None) -> str:
    if attempt is None:
        return "no attempt set out for it"
    if not attempt.complete:
        return f"its last attempt, on {attempt.host}, is {_outcome(attempt)}"
    return f"its last attempt, on {attempt.host}, came to an end without a record of it"


def request_name(request: Request) -> str:
    """What was asked for, in words."""
    workload = request.workload
    source = "" if workload.source == "network" else f" from {workload.source}"
    more = "".join(
        f", {text}"
        for text in (
            f"repeat {request.repeat}" if request.repeat else "",
            request.mark,
            "then offline" if request.offline else "",
        )
        if text
    )
    return f"{request.profile}, {workload.weights} {workload.runtime}{source}{more}"


def _of_test(test: SuiteTest) -> str:
    why = f": {test.reason}" if test.reason else ""
    return f"{test.node_id} on {test.host}{why}"


def attempts_table(tried: Iterable[Attempt]) -> Table:
    """A line an attempt: when, where, on what, and how it ended."""
    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for heading in ("attempt began (UTC)", "host", "devices", "took", "outcome"):
        shown.add_column(heading, overflow="fold")
    for one in tried:
        cells = (_time(one.began_at), one.host, ", ".join(one.devices), _took(one))
        shown.add_row(
            *(Text(plain(cell)) for cell in cells),
            Text(plain(_outcome(one)), style="" if one.complete else "magenta"),
        )
    return shown


def _took(attempt: Attempt) -> str:
    if attempt.ended_at is None:
        return ""
    return f"{(attempt.ended_at - attempt.began_at).total_seconds():.0f} s"


def _outcome(attempt: Attempt) -> str:
    if attempt.ended_at is None:
        return f"{attempt.outcome}: it has no end; it goes on, or was killed"
    code = "" if attempt.exit_code is None else f", exit code {attempt.exit_code}"
    return f"{attempt.outcome}{code}"


def lineages(asked: Iterable[Request], told: Sequence[Try]) -> list[str]:
    """The requests that were tried more than once, each with its tries in order."""
    names = {request.request_id: request_name(request) for request in asked}
    return [
        f"tried {len(chain)} times: {names.get(chain[0].request_id, chain[0].request_id)}: "
        + " -> ".join(map(_of_try, chain))
        for chain in _chains(told)
        if len(chain) > 1
    ]


def _chains(told: Sequence[Try]) -> Iterable[list[Try]]:
    """Tries of one thing: of one request, or joined by what a retry names."""
    chain_of: dict[str, list[Try]] = {}
    chains: defaultdict[str, list[Try]] = defaultdict(list)
    for one in told:
        before = chain_of.get(one.retry_of or "")
        chain = chains[one.request_id] if before is None else before
        chain.append(one)
        chain_of[one.trial_id] = chain
    return [chain for chain in chains.values() if chain]


def _of_try(one: Try) -> str:
    aside = ", set aside" if one.superseded else ""
    why = f" ({one.explanation})" if not one.states else ""
    return f"{one.verdict}{why} on {one.host}, trial {one.trial_id}{aside}"


# ---- words ----


def _lines(console: Console, lines: Sequence[str], most: int | None = None) -> None:
    for line in lines[:most]:
        console.print(plain(line), markup=False, highlight=False, soft_wrap=True)
    if most is not None and len(lines) > most:
        console.print(f"... and {len(lines) - most:,} more", highlight=False)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"
