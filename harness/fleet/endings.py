"""How tests and runs end: what counts against a device, what against the lab, and the exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from harness.fleet.exit_codes import Exit

if TYPE_CHECKING:
    from results.fleet.suite_tests import TestOutcome

LAB_FAULT: Final = "lab_fault"
"""The property of a report whose test failed by a fault of the lab."""

EARLIER_ATTEMPT: Final = "earlier_attempt"
"""The property of a report whose test only read the trial of an earlier attempt: which one."""

# What a report of xdist calls the phase of a test whose worker died of it.
_WORKER_DIED: Final = "???"

_LONGEST_REASON: Final = 2000


@dataclass(frozen=True, slots=True)
class Ending:
    """How one test ended.

    Attributes:
        node_id: which.
        outcome: what pytest calls it.
        seconds: setup, call and teardown together.
        reason: why it failed or was skipped, else empty.
        lab_fault: whether it failed by a fault of the lab, which states nothing of the device.
        file: where the test is, relative to where pytest was started.
        line: in that file, from 1; `None` where it is not known.
        properties: what else is known of it, such as the trial that it is about.
    """

    node_id: str
    outcome: TestOutcome
    seconds: float
    reason: str = ""
    lab_fault: bool = False
    file: str = ""
    line: int | None = None
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether it is red."""
        return self.outcome in {"failed", "error"}


class Endings:
    """Puts the reports of a test's phases together, as they come."""

    def __init__(self) -> None:
        self._open: dict[str, list[pytest.TestReport]] = {}

    def add(self, report: pytest.TestReport) -> Ending | None:
        """How the test ended, where this was its last report."""
        reports = self._open.setdefault(report.nodeid, [])
        reports.append(report)
        died = str(report.when) == _WORKER_DIED
        if report.when != "teardown" and not died:
            return None
        return _end(self._open.pop(report.nodeid), died=died)


def _end(reports: list[pytest.TestReport], *, died: bool) -> Ending:
    worst = next(
        (r for r in reports if r.failed), next((r for r in reports if r.skipped), reports[-1])
    )
    properties = {key: str(value) for key, value in reports[-1].user_properties}
    file, line, _ = worst.location
    return Ending(
        node_id=worst.nodeid,
        outcome=_outcome(worst),
        seconds=sum(report.duration for report in reports),
        reason="" if worst.passed else reason_of(worst),
        lab_fault=died or (worst.failed and LAB_FAULT in properties),
        file=file,
        line=None if line is None else line + 1,
        properties=properties,
    )


def _outcome(report: pytest.TestReport) -> TestOutcome:
    if report.skipped:
        return "skipped"
    if report.failed:
        return "error" if report.when in {"setup", "teardown"} else "failed"
    return "passed"


def reason_of(report: pytest.TestReport) -> str:
    """Why a test failed or was skipped, in its own words and without what was compared."""
    told = report.longrepr
    if isinstance(told, tuple):  # a skip: file, line, reason
        return str(told[2])[:_LONGEST_REASON]
    crash = getattr(told, "reprcrash", None)
    words = str(crash.message if crash else told).partition("\nassert ")[0]
    # Of these two the words are all that there is to say.
    words = words.removeprefix("Failed: ").removeprefix("AssertionError: ")
    return words[:_LONGEST_REASON]


@dataclass(slots=True)
class Tally:
    """What became of the tests of an attempt.

    Attributes:
        failures: tests that failed for what they found out of a device.
        lab_faults: tests that failed by a fault of the lab.
        not_reached: how many tests of each device were not run.
        stopped: why the run ended before its tests, in words; empty where it did not.
        deadline: whether it was its deadline.
    """

    failures: int = 0
    lab_faults: int = 0
    not_reached: Counter[str] = field(default_factory=Counter)
    stopped: str = ""
    deadline: bool = False

    def add(self, end: Ending) -> None:
        """Count a test."""
        if end.failed:
            self.lab_faults += end.lab_fault
            self.failures += not end.lab_fault

    def exit_code(self, pytests: int) -> int:
        """The exit code of the run, from that which pytest would give.

        A failure about a device is the strongest statement; then that the work is not done; then
        that only the lab failed. What pytest itself could not do keeps its code.
        """
        interrupted = pytests == pytest.ExitCode.INTERRUPTED and self.deadline
        if pytests not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} and not interrupted:
            return pytests
        if self.failures:
            return Exit.FAILED
        if interrupted:
            return Exit.DEADLINE
        # Red without a test that failed: an error of pytest's own, such as in a plugin.
        return Exit.LAB_FAULT if self.lab_faults else pytests
