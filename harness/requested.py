"""Requested trials: each is run until a record says something of the device, within its budget.

What is in the store already is not run again: a run that goes on after it was cut off, or that two
hosts do at once, asks for the same requests, and each of them counts once. The record of every try
says which one it is, which came before it, and why that was not enough.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.devices.base import DeviceLostError
from harness.leasing import NoDeviceError
from results.fleet.requests import Request
from results.record import Lineage, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from harness.ab import Setup
    from harness.devices.lease import Held
    from harness.keeping import Cause, Keeper
    from harness.leasing import Leased, Leasing
    from harness.profiles import Profile
    from harness.trial import TrialSettings
    from results.record import Record, WorkloadRecord

# The repeats that a run asks for stay below this: a failure's further tries are repeats above it.
FAILURE_STRIDE: Final = 1000
FAILURES: Final = frozenset({Verdict.CRASH, Verdict.HANG})


@dataclass(frozen=True, slots=True)
class Wanted:
    """One trial that somebody wants.

    Attributes:
        profile: the device.
        workload: as records have it.
        setup: what it is run with in place of what is installed.
        repeat: its number among several of the same.
        mark: what else tells it from another of the same workload.
        offline: whether a load without a network follows.
    """

    profile: Profile
    workload: WorkloadRecord
    setup: Setup
    repeat: int = 0
    mark: str = ""
    offline: bool = False


@dataclass(slots=True)
class _Tries:
    """The tries of one thing in this attempt so far: how many, the last, and why it was not it."""

    number: int = 0
    last: str | None = None
    cause: Cause | None = None


class Requested:
    """The requests of one laboratory.

    Args:
        settings: of the run.
        leasing: gives devices.
        keeper: stores records.
        failure_retries: how often a load that crashed or hung is run again.
        say: told in words.
    """

    def __init__(
        self,
        settings: TrialSettings,
        leasing: Leasing,
        keeper: Keeper,
        *,
        failure_retries: int,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._leasing = leasing
        self._keeper = keeper
        self._failure_retries = failure_retries
        self._say = say
        self._kept: defaultdict[str, _Tries] = defaultdict(_Tries)

    def fulfil(
        self, wanted: Wanted, run: Callable[[Leased], Coroutine[Any, Any, Record]]
    ) -> Record:
        """The record of a request: one that is stored already, or that of the last try now.

        A load that crashed or hung is run again while its budget lasts, as a request of its own:
        all of its records count, and the last is the answer.

        Args:
            wanted: the request.
            run: one try on an open device; its record has no lineage yet.

        Raises:
            NoDeviceError: no device may be used now, and none was tried.
            DeviceLostError: the device was lost each time before there was a record.
        """
        tries = _Tries()
        again = self._failure_retries
        for repeat in range(wanted.repeat, wanted.repeat + again * FAILURE_STRIDE, FAILURE_STRIDE):
            record = self._once(wanted, repeat, tries, run)
            if record.verdict not in FAILURES:
                return record
            self._say(f"the load failed ({record.explanation}); once more, and both count")
            tries.last, tries.cause = record.trial_id, "failure"
        return self._once(wanted, wanted.repeat + again * FAILURE_STRIDE, tries, run)

    def keep(self, at: Leased, record: Record, *, mark: str = "") -> None:
        """Store a record whose request follows from itself; and what it says of the device."""
        profile, workload = at.device.profile.id, record.workload
        request = Request.of(self._settings.run_id, profile, workload, mark=mark)
        self._keeper.request(request)
        self._keep(at, record, request, self._kept[request.request_id])

    def _once(
        self,
        wanted: Wanted,
        repeat: int,
        tries: _Tries,
        run: Callable[[Leased], Coroutine[Any, Any, Record]],
    ) -> Record:
        request = Request.of(
            self._settings.run_id,
            wanted.profile.id,
            wanted.workload,
            repeat=repeat,
            mark=wanted.mark,
            offline=wanted.offline,
        )
        if stored := self._keeper.request(request):
            self._say(f"{wanted.profile.id}: {wanted.workload.weights} is in the store already")
            return stored

        if tries.number == 0:
            tries.last, tries.cause = self._keeper.before(request, self._settings.attempt_id)

        async def work(at: Leased) -> Record:
            return self._keep(at, await run(at), request, tries)

        return self._tried(wanted, request, tries, work)

    def _tried(
        self,
        wanted: Wanted,
        request: Request,
        tries: _Tries,
        work: Callable[[Leased], Coroutine[Any, Any, Record]],
    ) -> Record:
        """The record of the first try that says something of the device, or of the last."""
        last: Record | None = None
        while True:
            lost: DeviceLostError | None = None
            try:
                last = self._leasing.on_device(wanted.profile, work, wanted.setup)
                if last.verdict is not Verdict.INFRA:
                    return last
                why = last.explanation
            except DeviceLostError as error:
                lost, why = error, str(error)
                tries.number += not isinstance(error, NoDeviceError)
            tries.cause = "infra"
            if isinstance(lost, NoDeviceError):
                self._say(str(lost))
            elif self._leasing.once_more(request.request_id, why):
                continue
            if last is not None:
                return last
            if lost is not None:
                raise lost

    def _keep(self, at: Leased, record: Record, request: Request, tries: _Tries) -> Record:
        """Store a record within its lease: what comes next on the device comes after it."""
        tries.number += 1
        record = record.model_copy(update={"lineage": self._lineage(request, tries, at.held)})
        self._keeper.record(record)
        tries.last = record.trial_id
        if record.verdict is Verdict.INFRA:
            tries.cause = "infra"
            if record.cause != "lease-lost":  # nothing is wrong with what another host took
                self._leasing.fault(at, record.explanation)
        elif record.states:
            self._leasing.success(at)
        return record

    def _lineage(self, request: Request, tries: _Tries, held: Held) -> Lineage:
        return Lineage(
            request_id=request.request_id,
            attempt_id=self._settings.attempt_id,
            number=tries.number,
            retry_of=tries.last,
            retry_cause=tries.cause,
            resource=held.resource,
            lease_token=held.token,
        )
