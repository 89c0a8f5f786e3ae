"""The options of a run as a whole: its name, how long it may take, and who reads what it says."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.fleet.deadline import Deadline
from harness.fleet.spans import parse_span

if TYPE_CHECKING:
    import pytest

TITLE: Final = """the run as a whole
  exit codes: 0 all is well; 1 something failed about a device; 2 to 5 are pytest's own (2 stopped
  by somebody, 4 a mistake in the command line, 5 no tests); 75 nothing failed but the lab: try
  again; 124 the deadline passed before all tests were reached. Where several hold, 1 comes before
  124, and that before 75."""

# It names folders as well; a UUID and a date with a word fit.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_options(parser: pytest.Parser) -> None:
    """Add the options of a run as a whole."""
    add = parser.getgroup("tierlab-run", TITLE).addoption
    add(
        "--run-id",
        metavar="ID",
        help="start the run of this name, or go on with it: a trial that is in the store is not"
        " run again; e.g. --run-id=nightly-2026-11-26 (default: a new name)",
    )
    add(
        "--deadline",
        metavar="SPAN",
        help="for the whole run: no test begins after it, and what was not reached is listed; e.g."
        " --deadline=2h, 90m or 5400s (default: none)",
    )
    add(
        "--github",
        action="store_true",
        default=os.environ.get("GITHUB_ACTIONS") == "true",
        help="annotate failed tests for GitHub Actions (the default where GITHUB_ACTIONS=true)",
    )


def checked_run_id(text: str) -> str:
    """`text`, where it can name a run.

    Raises:
        UserError: it cannot.
    """
    if not _RUN_ID.fullmatch(text):
        raise UserError(
            f"--run-id={text!r} cannot name a run",
            "take up to 100 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return text


def deadline_of(config: pytest.Config) -> Deadline | None:
    """The deadline that was asked for, counted from now.

    Raises:
        UserError: it is no span of time.
    """
    span: str | None = config.option.deadline
    if span is None:
        return None
    try:
        return Deadline.after(parse_span(span), span.strip())
    except UserError as error:
        raise UserError(f"--deadline: {error.problem}", error.next_step) from error
