"""Folders that last as long as a block: what a killed owner left is removed by whoever is next.

A lock beside each folder dies with its owner.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def owned_folder(parent: Path) -> Iterator[Path]:
    """A fresh folder in `parent`, which is made when missing; gone when the block ends.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    folder = parent / uuid.uuid4().hex
    with FileLock(_lock_of(folder)):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            _remove(folder)


def sweep(parent: Path) -> None:
    """Remove the folders whose owner is gone.

    Raises:
        OSError: they cannot be looked at.
    """
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock(_lock_of(folder))
        with contextlib.suppress(Timeout), lock.acquire(timeout=0):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder whose lock is held, and the lock's file."""
    shutil.rmtree(folder, ignore_errors=True)
    _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
