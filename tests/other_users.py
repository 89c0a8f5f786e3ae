"""Tests that step down from root to a user who has nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENTER = 0o055


def let_in(folder: Path) -> None:
    """Let other users reach a folder of pytest's, which keeps its folders to itself.

    How deep they are differs: a worker of pytest-xdist has one more.
    """
    for one in (folder, *folder.parents):
        mode = one.stat().st_mode
        if mode & _ENTER != _ENTER:
            one.chmod(mode | _ENTER)
