"""What GitHub Actions is told: annotations of failed tests, and the summary of a job.

Workflow commands are lines of output that begin with `::`, blanks before it not counted
(https://docs.github.com/actions/reference/workflow-commands-for-github-actions). Any device whose
text is printed could give them: they are switched off for all that a run prints, and on for its own
annotations only.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from results.matrix.markdown import text
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from harness.fleet.endings import Ending, Tally

# GitHub shows so many of each level a step, and drops the rest without a word.
MOST: Final = 10
# A page has room for so many; a summary of more than 1 MiB is refused as a whole.
_MOST_ROWS: Final = 500


class Guard:
    """Switches workflow commands off, and on while annotations are written.

    Args:
        write: writes one line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._token = secrets.token_hex(16)

    def stop(self) -> None:
        """From now on no line is a command."""
        self._write(f"::stop-commands::{self._token}")

    def resume(self) -> None:
        """Lines are commands again."""
        self._write(f"::{self._token}::")


def annotation(level: str, message: str, *, file: str, line: int | None, title: str) -> str:
    """One workflow command: `level` is `error`, `warning` or `notice`."""
    where = {"file": file, "line": "" if line is None else str(line), "title": plain(title)}
    properties = ",".join(f"{key}={_property(value)}" for key, value in where.items() if value)
    return f"::{level} {properties}::{_data(message)}"


def _data(value: str) -> str:
    """As actions/toolkit's `escapeData`; a line break in it is one, other controls are none."""
    lines = (plain(line) for line in value.splitlines())
    return "\n".join(lines).replace("%", "%25").replace("\n", "%0A")


def _property(value: str) -> str:
    """As actions/toolkit's `escapeProperty`."""
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def annotated(ends: Iterable[Ending]) -> list[str]:
    """The failed tests: an error where a device failed, a warning where the lab did."""
    failed = [end for end in ends if end.failed]
    found: list[str] = []
    for level, title, those in (
        ("error", "failed", [end for end in failed if not end.lab_fault]),
        ("warning", "fault of the lab", [end for end in failed if end.lab_fault]),
    ):
        shown = those if len(those) <= MOST else those[: MOST - 1]
        found += [
            annotation(
                level,
                end.reason or end.node_id,
                file=end.file,
                line=end.line,
                title=f"{title}: {end.node_id}",
            )
            for end in shown
        ]
        if len(shown) < len(those):
            more = f"{len(those) - len(shown)} more tests: see the log of this step"
            found.append(annotation(level, more, file="", line=None, title=title))
    return found


def summary(run_id: str, ends: Sequence[Ending], tally: Tally) -> str:
    """The summary of a job, as Markdown."""
    passed = sum(end.outcome == "passed" for end in ends)
    lines = [
        f"### tierlab: run {text(run_id)}",
        "",
        (
            f"{passed} passed, {tally.failures} failed, {tally.lab_faults} failed by faults of the"
            f" lab, {tally.not_reached.total()} not reached."
        ),
        "",
    ]
    failed = [end for end in ends if end.failed]
    if failed:
        lines += ["| test | whose fault | why |", "| --- | --- | --- |"]
        lines += [
            f"| {text(end.node_id)} | {'the lab' if end.lab_fault else 'the device'}"
            f" | {text(end.reason)} |"
            for end in failed[:_MOST_ROWS]
        ]
        lines.append("")
    lines += [
        f"- {text(device)}: {count} {'test' if count == 1 else 'tests'} not reached"
        for device, count in sorted(tally.not_reached.items())
    ]
    if tally.stopped:
        lines += ["", f"It ended early: {text(tally.stopped)}."]
    return "\n".join(lines) + "\n"
