"""What a schedule asks for: one request a profile and workload, those that take longest first."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import TYPE_CHECKING, Final

from harness.fleet.loading import RUNTIME_GROUPS
from harness.models import Workload, find_model, find_quantisation
from harness.runtimes import BEST, RUNTIMES, find_runtime
from results.fleet.requests import Request
from results.record import WorkloadRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.fleet.config import Schedule
    from results.store import Store

# How many of the newest trials of a workload say how long the next one takes.
_NEWEST: Final = 20


def workloads_of(schedule: Schedule) -> list[Workload]:
    """Every workload of a schedule, each once, as `pytest suites` makes them of its options."""
    found = (
        Workload(
            model=model.id,
            quantisation=runtime.exact_quantisation(model, find_quantisation(quant).name),
            runtime=runtime.id,
            prompt_tokens=schedule.prompt_tokens,
            output_tokens=schedule.output_tokens,
        )
        for model in map(find_model, schedule.models)
        for runtime in map(find_runtime, _runtimes(schedule.runtimes))
        for quant in schedule.quants
        or [
            next(
                (n for n in runtime.quantisations if find_quantisation(n).fits(model)),
                runtime.quantisations[0],
            )
        ]
    )
    return list(dict.fromkeys(found))


def _runtimes(words: Iterable[str]) -> list[str]:
    groups = dict(zip(RUNTIME_GROUPS, (list(BEST), list(RUNTIMES)), strict=True))
    return list(dict.fromkeys(name for word in words for name in groups.get(word, [word])))


def requests_of(schedule: Schedule, profiles: Iterable[str], run_id: str) -> list[Request]:
    """One request for each profile and workload."""
    workloads = [WorkloadRecord(**asdict(workload)) for workload in workloads_of(schedule)]
    return [Request.of(run_id, profile, w) for profile in profiles for w in workloads]


def longest_first(store: Store, requests: Iterable[Request]) -> list[Request]:
    """Requests in the order to start them in: the longest first, which ends the whole soonest.

    How long one takes is what the newest trials of the same profile and workload took. What was
    never tried comes first, since it may take any time; of the rest, bigger models go before
    smaller ones where the times are the same.

    Raises:
        StoreError: the store cannot be read.
    """
    asked = list(requests)
    known = {request.request_id: _seconds(store, request) for request in asked}
    unknown = float("inf")

    def key(request: Request) -> tuple[float, int, str]:
        seconds = known[request.request_id]
        model = find_model(request.workload.model)
        quantisation = find_quantisation(request.workload.quantisation)
        size = model.weight_bytes(quantisation) if quantisation.fits(model) else 0
        return (-(unknown if seconds is None else seconds), -size, request.request_id)

    return sorted(asked, key=key)


def _seconds(store: Store, request: Request) -> float | None:
    """How long the loads of a profile and workload took; `None` where none was measured."""
    workload = request.workload
    rows = store.read(
        "SELECT body ->> '$.measurement.wall_seconds' FROM records"
        " WHERE profile = ? AND model = ? AND quantisation = ? AND runtime = ?"
        " ORDER BY started_at DESC LIMIT ?",
        (request.profile, workload.model, workload.quantisation, workload.runtime, _NEWEST),
    )
    seconds = [float(value) for (value,) in rows if value is not None]
    return median(seconds) if seconds else None
