"""The options of a run as a whole: its name, how long it may take, and who reads what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.errors import UserError

if TYPE_CHECKING:
    import pytest

# It names folders as well; a UUID and a date with a word fit.
_RUN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options of a run as a whole."""
    add = group.addoption
    add(
        "--run-id",
        metavar="ID",
        help="start the run of this name, or go on with it: a trial that is in the store is not"
        " run again; e.g. --run-id=nightly-2026-11-26 (default: a new name)",
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
