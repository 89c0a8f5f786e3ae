"""A browser profile on disk that outlives its sessions, and not its trial.

It may hold gigabytes: room is asked for before, it is removed at the end, and what a killed run
left is removed by the next one (a lock beside each folder dies with its owner).
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from filelock import FileLock, Timeout

from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER: Final = ".browser-profiles"
# What a browser writes beside the files: 15 MB were seen; its caches may grow.
MARGIN_BYTES: Final = 256 << 20


@contextmanager
def persistent_profile(root: Path, needed_bytes: int) -> Iterator[Path]:
    """A folder for `Device.session(persistent=...)`, gone when the block ends.

    Args:
        root: a directory on the disk that big files go to; made when missing.
        needed_bytes: what pages will store in it.

    Raises:
        UserError: the disk is short, or does not take the folder.
    """
    parent = root / FOLDER
    try:
        parent.mkdir(parents=True, exist_ok=True)
        sweep(parent)
        free = shutil.disk_usage(parent).free
    except OSError as error:
        raise UserError(
            f"no browser profile can be made in {parent}: {error.strerror}",
            "set TIERLAB_CACHE to a directory of your own",
        ) from error
    needed = needed_bytes + MARGIN_BYTES
    if free < needed:
        raise UserError(
            f"a browser profile with the model needs {needed >> 20} MiB in {parent}, "
            f"{free >> 20} MiB are free",
            "free the disk, set TIERLAB_CACHE to another one, or use --source=opfs-private",
        )
    folder = parent / uuid.uuid4().hex
    with FileLock(_lock_of(folder)):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def sweep(parent: Path) -> None:
    """Remove the folders whose owner is gone."""
    for folder in parent.iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock(_lock_of(folder))
        with contextlib.suppress(Timeout), lock.acquire(timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
            _lock_of(folder).unlink(missing_ok=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
