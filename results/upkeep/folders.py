"""Raw evidence, copied whole: a folder or file appears under its name when all of it is there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Final

from results.upkeep.maintenance import SCRATCH

# An id is the name of a folder; anything else in its place could lead out of the results folder.
_PLAIN_NAME: Final = re.compile(r"[0-9A-Za-z_-][0-9A-Za-z._-]{0,199}")


def is_plain(name: str) -> bool:
    """Whether a name is that of one folder, and leads nowhere else."""
    return bool(_PLAIN_NAME.fullmatch(name))


def copy_evidence(source: Path, target: Path, place: Path) -> int | None:
    """Copy the plain files of a folder, or one file. Links are neither followed nor kept.

    Args:
        source: what to copy.
        target: where to; what is there already stays.
        place: the folder of all evidence of the kind, where a copy is made before it gets its name.

    Returns:
        The bytes that were copied; `None` where there is nothing to copy, or `target` is there.

    Raises:
        OSError: it cannot be copied.
    """
    is_file = source.is_file()
    if source.is_symlink() or os.path.lexists(target) or not (is_file or source.is_dir()):
        return None
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=f"{SCRATCH}copy-") as scratch:
        copy = Path(scratch) / target.name
        size = _copy_file(source, copy) if is_file else _copy_files(source, copy)
        target.parent.mkdir(exist_ok=True)
        try:
            copy.rename(target)
        except OSError:
            if not os.path.lexists(target):
                raise
            return None
    return size


def _copy_files(source: Path, target: Path) -> int:
    size = 0
    for place, _, names in os.walk(source):
        below = target / Path(place).relative_to(source)
        below.mkdir()
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                size += _copy_file(path, below / name)
    return size


def _copy_file(source: Path, target: Path) -> int:
    shutil.copyfile(source, target, follow_symlinks=False)
    return target.lstat().st_size
