"""What the work on a whole results folder shares: one at a time, and what a killed one left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from typing import TYPE_CHECKING, Final

from results.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EVIDENCE: Final = ("trials", "capabilities", "pages", "probes")
"""Folders of raw evidence in the results folder: one below each a trial, capability or run."""

SCRATCH: Final = ".tierlab-"
"""How the name of everything begins that exists only while somebody works on the folder."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Be the only one to import into, prune or repair a results folder. Runs may go on meanwhile.

    The lock is on the folder itself, leaves no file, and dies with its holder. What a killed
    predecessor left behind is removed.

    Raises:
        StoreError: somebody else is at it, or the folder cannot be opened.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"{folder}: another import, prune or repair works on it\n"
                "  -> wait until it is done, then try again"
            ) from error
        _sweep(folder)
        yield
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    for place in (folder, *(folder / name for name in EVIDENCE)):
        if place.is_dir() and (place == folder or not place.is_symlink()):
            for path in place.glob(f"{SCRATCH}*"):
                if not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
