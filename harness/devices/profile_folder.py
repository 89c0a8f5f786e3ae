"""A browser profile on disk that outlives its sessions, and not its trial.

It may hold gigabytes: room is asked for before, it is removed at the end, and what a killed run
left is removed by the next one.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.owned_folder import owned_folder, sweep

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
    with owned_folder(parent) as folder:
        yield folder
