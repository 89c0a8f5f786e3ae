"""The errors that a user can mend, and how they read.

Every `UserError` names the thing, the reason and the next step; the command line and the pytest
plugin print it without a traceback and exit with a code other than zero.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import ValidationError


class UserError(Exception):
    """Something the user can mend. `str()` is the whole message."""

    def __init__(self, problem: str, next_step: str = "") -> None:
        self.problem = problem
        self.next_step = next_step
        super().__init__(f"{problem}\n  -> {next_step}" if next_step else problem)


def nearest(word: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """The known words most like `word`, best first; may be empty."""
    names = list(known)
    lowered = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), lowered, n=count, cutoff=0.4)
    return [lowered[name] for name in found]


def unknown(kind: str, word: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a catalogue: it names the nearest ones."""
    names = sorted(known)
    close = nearest(word, names)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
    return UserError(f"unknown {kind} {word!r}", hint)


def first_fault(error: ValidationError, whole: str = "the text") -> str:
    """The first thing that a model does not take, in one line that does not quote it.

    Args:
        error: what pydantic says.
        whole: what to call the place where no key of the text is to blame.
    """
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or whole
    return f"{place}: {first['msg']}"
