"""One attempt of a run, as its store is told of it while it goes on.

What was asked for is written before the first test begins, and each end as it comes: after a crash
it can be seen what was not reached.
"""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from harness.fleet.endings import EARLIER_ATTEMPT
from harness.fleet.units import subject_of
from results.fleet.attempts import COMPLETE, STOPPED, attempts, began, ended
from results.fleet.events import add_events
from results.fleet.requests import Request, add_requests, fulfilled
from results.fleet.suite_tests import SuiteTest, finish_test, request_tests
from results.record import WorkloadRecord

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.fleet.endings import Ending, Tally
    from harness.models import Workload
    from results.store import Store

# The suites that load each workload of the run once; others know only as they go what they load.
LOADING_SUITES: Final = frozenset({"test_full_load", "test_oom"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """What an attempt is, and the names that it knows.

    Attributes:
        run_id: the run.
        attempt_id: this invocation.
        profiles: the ids of its profiles.
        workloads: by how ids of tests name them.
        offline: whether each load is followed by one without a network.
    """

    run_id: str
    attempt_id: str
    profiles: tuple[str, ...]
    workloads: Mapping[str, Workload]
    offline: bool

    def begin(self, store: Store, tests: Sequence[str]) -> tuple[int, int]:
        """Write down what is asked for.

        Returns:
            How many trials that is, and how many of them are in the store already.
        """
        requests = self._requests(tests)
        number = len(attempts(store, self.run_id)) + 1
        names = [request.request_id for request in requests]
        add_requests(store, requests)
        request_tests(store, [self._test(test) for test in tests])
        add_events(
            store,
            began(
                self.run_id,
                self.attempt_id,
                number=number,
                devices=self.profiles,
                request_ids=names,
            ),
        )
        return len(names), sum(fulfilled(store, name) is not None for name in names)

    def note(self, store: Store, end: Ending) -> None:
        """Write down how a test ended.

        What a test took that only read a trial of before says nothing of how long it will take.
        """
        finish_test(
            store,
            self.attempt_id,
            end.node_id,
            outcome=end.outcome,
            seconds=None if EARLIER_ATTEMPT in end.properties else end.seconds,
            reason=end.reason,
            lab_fault=end.lab_fault,
        )

    def finish(self, store: Store, left: Sequence[str], tally: Tally, exit_code: int) -> None:
        """Write down the end: what was not reached, and how it went."""
        for test in left:
            finish_test(
                store,
                self.attempt_id,
                test,
                outcome="not-reached",
                seconds=None,
                reason=tally.stopped,
            )
        text = f"attempt ends: {tally.stopped}, exit code {exit_code}" if tally.stopped else ""
        outcome = STOPPED if tally.stopped else COMPLETE
        end = ended(self.run_id, self.attempt_id, outcome=outcome, exit_code=exit_code, text=text)
        add_events(store, end)
        store.finish_run(self.run_id)

    def device_of(self, test: str) -> str:
        """The profile that a test is about, in words where it is about none."""
        return subject_of(test, self.profiles, ()).profile or "no device"

    def _requests(self, tests: Sequence[str]) -> list[Request]:
        """The trials that tests ask for, each once."""
        found: dict[str, Request] = {}
        for test in tests:
            subject = subject_of(test, self.profiles, self.workloads)
            if not subject.workload or _suite(test) not in LOADING_SUITES:
                continue
            request = Request.of(
                self.run_id,
                subject.profile,
                WorkloadRecord(**asdict(self.workloads[subject.workload])),
                offline=self.offline,
            )
            found.setdefault(request.request_id, request)
        return list(found.values())

    def _test(self, test: str) -> SuiteTest:
        return SuiteTest(
            attempt_id=self.attempt_id,
            node_id=test,
            run_id=self.run_id,
            host=platform.node(),
            profile=subject_of(test, self.profiles, ()).profile,
            suite=_suite(test),
            requested_at=datetime.now(UTC),
        )


def _suite(test: str) -> str:
    return PurePosixPath(test.partition("::")[0]).stem
