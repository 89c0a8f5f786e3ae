from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

import pytest

from harness.unpacking import unpack

if TYPE_CHECKING:
    from pathlib import Path


def archive_of(*entries: tuple[str, bytes]) -> tarfile.TarFile:
    """An archive of empty things: each a name and what tar calls its kind; files hold `text`."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, kind in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            entry.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(entry, io.BytesIO(b"text"))
    written.seek(0)
    return tarfile.open(fileobj=written)


def test_folders_and_files_arrive(tmp_path: Path) -> None:
    with archive_of((".", tarfile.DIRTYPE), ("./a/b/c", tarfile.REGTYPE)) as archive:
        unpack(archive, tmp_path)
    assert (tmp_path / "a/b/c").read_bytes() == b"text"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../outside", tarfile.REGTYPE),
        ("a/../../outside", tarfile.REGTYPE),
        ("/outside", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("link", tarfile.LNKTYPE),
        ("device", tarfile.CHRTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ],
)
def test_nothing_else_does(tmp_path: Path, name: str, kind: bytes) -> None:
    folder = tmp_path / "folder"
    with archive_of((name, kind)) as archive, pytest.raises(tarfile.ExtractError):
        unpack(archive, folder)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = ("file", tarfile.REGTYPE)
    with archive_of(twice, twice) as archive, pytest.raises(FileExistsError):
        unpack(archive, tmp_path)
