"""A folder for a block: gone with it, and what a killed owner left is gone with the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filelock import FileLock

from harness.owned_folder import owned_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_it_is_gone_with_its_block(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "place") as folder:
        (folder / "file").touch()
    assert list((tmp_path / "place").iterdir()) == []


def test_what_a_killed_owner_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "half").touch()
    (tmp_path / "left.lock").touch()  # the lock itself died with its owner
    with owned_folder(tmp_path):
        assert not (tmp_path / "left").exists()
    assert list(tmp_path.iterdir()) == []


def test_that_of_a_living_owner_is_let_be(tmp_path: Path) -> None:
    with owned_folder(tmp_path) as first, owned_folder(tmp_path) as second:
        assert first.is_dir()
        assert second.is_dir()
        assert first != second


def test_one_that_is_just_being_made_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with FileLock(tmp_path / "made.lock"), owned_folder(tmp_path):
        assert (tmp_path / "made").is_dir()
