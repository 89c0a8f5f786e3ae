"""How often tries end by a fault of the lab, or otherwise than the try before: a device, a suite.

What is incomplete is counted apart and is no try: nothing is known of how it would have ended.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from results.figures import moment
from results.fleet.attempts import INCOMPLETE, attempts_of
from results.fleet.events import EventKind, events
from results.query import NO_STATEMENT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from results.store import Store

LEAST: Final = 5
"""Of fewer tries no rate is told."""


@dataclass(slots=True)
class Tries:
    """What became of the tries of one device, or of the tests of one suite.

    Attributes:
        tries: those that came to an end. A test that is skipped is none.
        lab_faults: tries that ended by a fault of the lab.
        changed: tries that ended otherwise than the try before of the same thing in the same run,
            faults of the lab left out.
        incomplete: not among the tries: attempts on the device without an end, or tests of the
            suite that such attempts left open.
    """

    tries: int = 0
    lab_faults: int = 0
    changed: int = 0
    incomplete: int = 0

    @property
    def rate(self) -> float | None:
        """The share of tries that were flaky, 0 to 1; `None` of fewer than `LEAST` tries."""
        return (self.lab_faults + self.changed) / self.tries if self.tries >= LEAST else None


@dataclass(frozen=True, slots=True)
class FlakeRates:
    """Tries by device (what was leased; the profile where that is not known), and by suite."""

    devices: dict[str, Tries]
    suites: dict[str, Tries]


def flake_rates(store: Store, *, since: datetime | None = None) -> FlakeRates:
    """How flaky devices and suites are.

    Args:
        store: where the tries are.
        since: only runs that began at that time or later.

    Raises:
        StoreError: the store cannot be read.
    """
    began = moment(since) if since else ""
    told = attempts_of(events(store, kinds=[EventKind.ATTEMPT], since=since))
    lost = {one.attempt_id: one.devices for one in told if one.outcome == INCOMPLETE}
    return FlakeRates(
        devices=_devices(store, began, lost.values()), suites=_suites(store, began, lost.keys())
    )


def _devices(store: Store, began: str, lost: Iterable[tuple[str, ...]]) -> dict[str, Tries]:
    found: defaultdict[str, Tries] = defaultdict(Tries)
    verdicts: dict[str, str] = {}
    for trial, request, retry_of, device, verdict in store.each(_TRIALS, (began, began)):
        one = found[device]
        one.tries += 1
        if verdict in NO_STATEMENT:
            one.lab_faults += 1
            continue
        # The try before: the one that is named, or another of the same request.
        before = verdicts.get(retry_of or "") or verdicts.get(request or "")
        one.changed += before is not None and before != verdict
        verdicts |= {name: verdict for name in (trial, request) if name}
    for devices in lost:
        for device in devices:
            found[device].incomplete += 1
    return dict(sorted(found.items()))


def _suites(store: Store, began: str, lost: Collection[str]) -> dict[str, Tries]:
    found: defaultdict[str, Tries] = defaultdict(Tries)
    before: tuple[object, ...] = ()
    for suite, attempt, outcome, lab_fault, *test in store.each(_TESTS, (began,)):
        one = found[suite]
        if outcome is None:
            one.incomplete += attempt in lost
        elif outcome not in _NO_TRY:
            one.tries += 1
            one.lab_faults += lab_fault
            if not lab_fault:
                passed = outcome == "passed"
                one.changed += before == (*test, not passed)
                before = (*test, passed)
    return {suite: tries for suite, tries in sorted(found.items()) if tries != Tries()}


_NO_TRY: Final = frozenset({"skipped", "not-reached"})
_RUNS: Final = "run_id IN (SELECT run_id FROM runs WHERE started_at >= ?)"

# Trials that were set aside were tries all the same. Bodies are looked into only where there is a
# lineage.
_TRIALS: Final = (
    "SELECT trial_id, request_id, body ->> '$.lineage.retry_of',"  # noqa: S608 - our own
    " coalesce(nullif(body ->> '$.lineage.resource', ''), profile), verdict"
    " FROM (SELECT trial_id, request_id, started_at, profile, verdict,"
    f" iif(request_id IS NULL, '{{}}', body) AS body FROM records WHERE {_RUNS}"
    " UNION ALL SELECT trial_id, request_id, started_at, body ->> '$.device.profile',"
    f" body ->> '$.verdict', body FROM superseded WHERE {_RUNS})"
    " ORDER BY started_at, trial_id"
)
_TESTS: Final = (
    "SELECT suite, attempt_id, outcome, lab_fault, run_id, profile, node_id FROM tests"  # noqa: S608 - our own
    f" WHERE {_RUNS} ORDER BY run_id, profile, node_id, requested_at, attempt_id"
)
