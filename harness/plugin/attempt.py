"""The process that controls a run: what it keeps of the tests, and how the run ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest

from harness.fleet.attempt import Attempt
from harness.fleet.endings import Ending, Endings, Tally
from harness.plugin.selection import workload_id
from harness.plugin.stash import ATTEMPT_ID, DEADLINE, RUN_ID, with_store
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _pytest.terminal import TerminalReporter

    from harness.fleet.deadline import Deadline
    from harness.options import Plan


# What pytest's plugin manager knows it by.
WATCH: Final = "tierlab-attempt"


class AttemptWatch:
    """Hooks that follow an attempt from the first test to the exit code.

    Attributes:
        tally: what became of the tests so far.
        ends: of the tests so far, in the order in which they ended.
    """

    def __init__(self, config: pytest.Config, plan: Plan) -> None:
        trial = plan.settings.trial
        self._config = config
        self._plan = plan
        self._attempt = Attempt(
            run_id=config.stash[RUN_ID],
            attempt_id=config.stash[ATTEMPT_ID],
            profiles=tuple(profile.id for profile in plan.profiles),
            workloads={workload_id(workload): workload for workload in plan.workloads},
            offline=trial.offline,
        )
        self._left: dict[str, None] | None = None
        self._reports = Endings()
        self.tally = Tally()
        self.ends: list[Ending] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The tests are known, in a run without workers."""
        self._begin([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """The tests are known, by the first worker of many."""
        if self._left is None:
            self._begin(ids)

    def _begin(self, tests: Sequence[str]) -> None:
        self._left = dict.fromkeys(tests)
        asked, there = with_store(self._plan, lambda store: self._attempt.begin(store, tests))
        if there:
            self._say(
                f"run {self._attempt.run_id}: {there} of {asked} trials are in the store already,"
                " and are not run again"
            )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A phase of a test has ended, here or in a worker."""
        end = self._reports.add(report)
        if end is None or self._left is None or end.node_id not in self._left:
            return
        del self._left[end.node_id]
        self.ends.append(end)
        self.tally.add(end)
        with_store(self._plan, lambda store: self._attempt.note(store, end))

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Somebody stopped the run, or its deadline did."""
        deadline: Deadline | None = self._config.stash.get(DEADLINE, None)
        # pytest and xdist each have an exception of their own for a stop that has a reason.
        by_user = type(excinfo.value) is KeyboardInterrupt
        self.tally.stopped = "it was interrupted" if by_user else str(excinfo.value)
        self.tally.deadline = deadline is not None and self.tally.stopped == deadline.reason

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Note the orderly end of a run, and give it its exit code."""
        left = list(self._left or ())
        if left and not self.tally.stopped:
            self.tally.stopped = str(session.shouldfail or session.shouldstop or "it ended early")
        self.tally.not_reached = Counter(self._attempt.device_of(test) for test in left)
        code = self.tally.exit_code(exitstatus)
        session.exitstatus = code
        with_store(self._plan, lambda store: self._attempt.finish(store, left, self.tally, code))

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """List what was not reached, and tell the lab's faults from the devices'."""
        terminalreporter.ensure_newline()
        for device, count in self.tally.not_reached.items():
            tests = "test" if count == 1 else "tests"
            line = f"not reached: {device}: {count} {tests} ({self.tally.stopped})"
            terminalreporter.write_line(plain(line), yellow=True)
        if self.tally.lab_faults:
            count = self.tally.lab_faults
            tests = "1 test" if count == 1 else f"{count} tests"
            terminalreporter.write_line(
                f"{tests} failed by faults of the lab, which say nothing about a device",
                yellow=True,
            )
        if self.tally.not_reached or self.tally.lab_faults:
            terminalreporter.write_line(f"go on with: --run-id={self._attempt.run_id}")

    def _say(self, line: str) -> None:
        reporter: TerminalReporter | None
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)
