"""Charts as SVG, drawn by another process.

The library that draws is native code, which aborts the process it runs in where it meets what it
did not expect (a control character in a label is enough). What devices say must not end a run, so
that it draws elsewhere; a chart that cannot be drawn is a chart less, and its table is still there.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from markupsafe import Markup

from results.site.charts import complete
from results.site.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    Draw = Callable[[dict[str, Any], str], Markup]

_SCRIPT: Final = Path(__file__).with_name("draw.py")
# A chart takes some 30 ms, the first one a second.
_DEADLINE_SECONDS: Final = 60.0
# Of deaths or delays in a row: then it is not the chart, and the next ones would only take time.
_MOST_FAILURES: Final = 3
_NOT_DRAWN: Final = Markup("<p>This chart could not be drawn; its figures are in the table.</p>")


class Drawer:
    """Draws charts. A context manager: its process is there from the first chart to the end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._failures = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def draw(self, spec: dict[str, Any], title: str) -> Markup:
        """The chart as SVG to be put into a page, one image with that title; else a sentence."""
        answer = self._ask(json.dumps(complete(spec)))
        svg: str | None = json.loads(answer) if answer else None
        if svg is None:
            return _NOT_DRAWN
        head, body = svg.split(">", 1)
        label = Markup("<title>{}</title>").format(clean(title))
        return Markup(f'{head} role="img">') + label + Markup(body)  # noqa: S704 - Vega escapes text

    def _ask(self, line: str) -> str:
        """The line in answer, or "" from a process that died or was too slow."""
        if self._failures >= _MOST_FAILURES:
            return ""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
        process = self._process
        assert process.stdin
        assert process.stdout
        watchdog = threading.Timer(_DEADLINE_SECONDS, process.kill)
        watchdog.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(line + "\n")
                process.stdin.flush()
            answer = process.stdout.readline()
        finally:
            watchdog.cancel()
        if answer.endswith("\n"):
            self._failures = 0
            return answer
        self._failures += 1
        self._end()
        return ""

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.communicate()
