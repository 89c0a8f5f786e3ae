"""A run in GitHub Actions: annotations of its failed tests, and the summary of its job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.fleet.annotations import Guard, annotated, summary
from harness.plugin.stash import RUN_ID

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

    from harness.plugin.attempt import AttemptWatch

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


class GithubReport:
    """Hooks that write what GitHub reads.

    Args:
        config: of the process that controls the run.
        watch: knows how the tests ended.
    """

    def __init__(self, config: pytest.Config, watch: AttemptWatch) -> None:
        self._config = config
        self._watch = watch
        self._guard: Guard | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """From now on nothing that is printed is a command."""
        reporter: TerminalReporter | None
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            self._guard = Guard(reporter.write_line)
            self._guard.stop()

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Write the annotations, and the summary where GitHub has a file for it."""
        if self._guard is None:
            return
        terminalreporter.ensure_newline()
        self._guard.resume()
        for line in annotated(self._watch.ends):
            terminalreporter.write_line(line)
        self._guard.stop()
        if path := os.environ.get(SUMMARY_VARIABLE):
            told = summary(self._config.stash[RUN_ID], self._watch.ends, self._watch.tally)
            try:
                with Path(path).open("a", encoding="utf-8") as file:
                    file.write(told)
            except OSError as error:
                terminalreporter.write_line(f"{path}: no summary of the job: {error.strerror}")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Leave the log of the step as it was found."""
        if self._guard is not None:
            self._guard.resume()
