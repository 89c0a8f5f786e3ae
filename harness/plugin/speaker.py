"""What a run says while it goes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from harness.plugin.stash import is_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from _pytest.terminal import TerminalReporter


def speaker(config: pytest.Config) -> Callable[[str], None]:
    """Prints progress past pytest's capture; silent in xdist workers, which have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is None or is_worker(config):
        return lambda _: None
    return Speaker(reporter, capture)


class Speaker:
    """Progress of long work: one line that is overwritten on a terminal, plain lines elsewhere."""

    def __init__(self, reporter: TerminalReporter, capture: Any) -> None:  # noqa: ANN401
        self._reporter = reporter
        self._capture = capture
        self._rewrites = reporter.isatty and os.environ.get("CI") is None
        self._last = ""

    def __call__(self, text: str) -> None:
        """Show what is going on."""
        if not self._rewrites and self._same_step(text):
            return
        self._last = text
        with self._capture.global_and_fixture_disabled():
            if self._rewrites:
                self._reporter.rewrite(f"  {text}", erase=True)
            else:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"  {text}", flush=True)

    def _same_step(self, text: str) -> bool:
        """Whether only a number changed since the last line: not worth a line of its own."""
        return _without_digits(text) == _without_digits(self._last)


def _without_digits(text: str) -> str:
    return "".join(char for char in text if not char.isdigit())
