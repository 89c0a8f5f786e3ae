"""What a run says when it ends: the table of its trials, and what was not run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness.plugin.attempt import WATCH
from harness.plugin.stash import PLAN, RUN_ID, with_store
from results.report import print_report
from results.table import plain

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from harness.plugin.attempt import AttemptWatch


def pytest_terminal_summary(
    terminalreporter: TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Print the table of this run, and what was asked for and not run; make the matrix."""
    plan = config.stash.get(PLAN, None)
    if plan is None:
        return
    run_id = config.stash[RUN_ID]
    for name, reason in plan.left_out:
        terminalreporter.write_line(f"not run: {name}: {plain(reason)}", yellow=True)
    terminalreporter.ensure_newline()
    console = Console(
        file=terminalreporter._tw._file,  # noqa: SLF001 - pytest gives no other way to its stream
        width=max(terminalreporter._tw.fullwidth, 80),  # noqa: SLF001
        force_terminal=terminalreporter.hasmarkup,
    )
    if with_store(plan, lambda store: print_report(console, store, run_id, plan.engines_left_out)):
        terminalreporter.write_line(f"raw evidence: {plan.settings.trial.results}")
    # The deadline is an orderly end, though pytest calls it an interruption.
    watch: AttemptWatch | None = config.pluginmanager.get_plugin(WATCH)
    late = watch is not None and watch.tally.deadline
    ran = late or exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if config.option.matrix and ran and not config.option.collectonly:
        _make_matrix(plan.settings.trial.results, terminalreporter)


def _make_matrix(results: Path, terminalreporter: TerminalReporter) -> None:
    # Imported here: only a run that ends with a matrix needs it.
    from results.matrix.after_run import matrix_after_run  # noqa: PLC0415

    matrix_after_run(
        results,
        say=lambda line: terminalreporter.write_line(plain(line), flush=True),
        warn=lambda line: terminalreporter.write_line(plain(line), flush=True, yellow=True),
    )
