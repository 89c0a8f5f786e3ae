"""The matrix at the end of a run: made where it can be, and never the reason that a run fails."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from results.matrix.make import FOLDER, make_matrix
from results.site import SiteError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from results.matrix.make import Made

    Say = Callable[[str], None]


def matrix_after_run(results: Path, say: Say, warn: Say) -> None:
    """Make the matrix of a results folder and say where it is; whatever fails is a warning.

    Args:
        results: the results folder; the matrix goes into a folder inside it.
        say: shows a line.
        warn: shows a line of what failed.
    """
    try:
        with warnings.catch_warnings():
            # What a library will drop some day is of interest to its developers, not to this run.
            warnings.simplefilter("ignore")
            made = _make(results, warn)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the run is over and has its result
        warn(f"the matrix was not made: {_first_line(error)}")
        return
    if made is None:
        return
    say(f"matrix: {made.words}")
    if made.warning:
        warn(made.warning)
    say(f"matrix: {made.address}")


def _make(results: Path, warn: Say) -> Made | None:
    try:
        return make_matrix(results, results / FOLDER)
    except SiteError as error:
        warn(f"the matrix has no website: {error}")
        return make_matrix(results, results / FOLDER, site=False)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
