"""Unpacking an archive of somebody else's: folders and files, and nothing outside of one folder.

`tarfile`'s own filter for this, `filter="data"`, came with Python 3.11.4; Debian 12 has 3.11.2.
"""

from __future__ import annotations

import shutil
import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Lay an archive into a folder that is empty. Owners and modes of the archive are not taken.

    Raises:
        tarfile.ExtractError: it holds something but folders and files, or a name leads elsewhere.
        OSError: something cannot be written, or is there twice.
    """
    for member in archive:
        name = PurePosixPath(member.name)
        if name.is_absolute() or ".." in name.parts or not (member.isdir() or member.isreg()):
            raise tarfile.ExtractError(f"{member.name!r} is no file or folder inside of it")
        target = folder / name
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content is not None  # of a regular file there is one
        with content, target.open("xb") as file:
            shutil.copyfileobj(content, file)
