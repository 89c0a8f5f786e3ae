"""`tierlab fleet status`: how far a run has come, and what the master has queued and running."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError
from harness.fleet.say import say
from results.fleet.requests import progress
from results.store import FILE_NAME, Store

if TYPE_CHECKING:
    from pathlib import Path

_ANSWER_SECONDS: Final = 10.0
_MOST_BYTES: Final = 16 << 20
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Queue:
    """What a master has to do, by builder: how many are queued, and how many run."""

    queued: Counter[str]
    running: Counter[str]
    workers: dict[str, bool]
    """Whether each is connected."""


def print_status(results: Path, run_id: str | None, url: str) -> int:
    """Say it; the exit code: 0 where everything asked for is recorded, else 1.

    Raises:
        UserError: there are no results, or there is no such run.
    """
    if not (results / FILE_NAME).is_file():
        raise UserError(f"{results}: there are no results here", "choose another --results")
    with Store.open(results) as store:
        chosen = run_id or store.latest_run()
        if chosen is None:
            raise UserError(f"{results}: no run is stored here", "tierlab fleet plan starts one")
        done = progress(store, chosen)
    say(f"run {chosen}: {done.recorded} of {done.requested} trials recorded")
    if done.superseded:
        say(f"  {done.superseded} more were measured a second time, and are set aside")
    open_ = {"faults of the lab so far": done.lab_faults, "no record": done.missing}
    for heading, missing in open_.items():
        for request in missing[:_SHOWN]:
            workload = request.workload
            say(f"  {heading}: {request.profile}: {workload.weights} on {workload.runtime}")
        if len(missing) > _SHOWN:
            say(f"  {heading}: {len(missing) - _SHOWN} more")
    try:
        _print_queue(read_queue(url))
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        say(f"master {url}: does not answer ({reason}); what is queued is not known")
    return 0 if done.recorded == done.requested else 1


def _print_queue(queue: Queue) -> None:
    for builder in sorted(queue.queued | queue.running):
        say(f"  {builder}: {queue.running[builder]} running, {queue.queued[builder]} queued")
    gone = sorted(name for name, connected in queue.workers.items() if not connected)
    say(
        f"  workers: {len(queue.workers) - len(gone)} of {len(queue.workers)} connected"
        + (f"; missing: {', '.join(gone)}" if gone else "")
    )


def read_queue(url: str) -> Queue:
    """What the master at an address has to do, as its REST interface (v2) says.

    Raises:
        OSError: it does not answer, or not as a master does.
        HTTPException: it stopped in the middle of an answer.
    """
    builders = {one["builderid"]: one["name"] for one in _get(url, "builders")}
    asked = _get(url, "buildrequests?complete=false")
    named = [(builders.get(one["builderid"], "?"), one["claimed"]) for one in asked]
    workers = {one["name"]: bool(one["connected_to"]) for one in _get(url, "workers")}
    return Queue(
        queued=Counter(name for name, claimed in named if not claimed),
        running=Counter(name for name, claimed in named if claimed),
        workers=workers,
    )


def _get(url: str, what: str) -> list[dict[str, Any]]:
    if not url.startswith(("http://", "https://")):
        raise UserError(f"--url={url} is no address of a web page", "write http://HOST:PORT/")
    try:
        with urllib.request.urlopen(f"{url}api/v2/{what}", timeout=_ANSWER_SECONDS) as answer:  # noqa: S310 - checked above
            told = json.loads(answer.read(_MOST_BYTES))
    except ValueError as error:
        raise OSError(f"its answer is not JSON: {error}") from error
    found = told.get(what.partition("?")[0]) if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise OSError("its answer is not that of a Buildbot")
    return found
