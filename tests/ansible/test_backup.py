"""Copies of a store in use, and their restoring."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from tests.ansible.rendering import ANSIBLE

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = ANSIBLE / "roles/lab_controller/files/backup.py"
DEADLINE_S = 60


def backup(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )


@pytest.fixture
def places(tmp_path: Path) -> list[str | Path]:
    """Options for a results folder and a master's folder, each with a database of one row."""
    results, master = tmp_path / "results", tmp_path / "master"
    (results / "trials/t1").mkdir(parents=True)
    (results / "trials/t1/stderr.txt").write_text("evidence\n")
    master.mkdir()
    for path in (results / "store.sqlite3", master / "state.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE seen (what TEXT)")
            database.execute("INSERT INTO seen VALUES ('first')")
    return ["--results", results, "--master", master]


def rows(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [what for (what,) in database.execute("SELECT what FROM seen")]


def test_a_store_in_use_is_copied_and_restored(tmp_path: Path, places: list[str | Path]) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "results/store.sqlite3")) as writer:
        writer.execute("INSERT INTO seen VALUES ('second')")
        writer.commit()  # in the write-ahead log only: the writer stays
        writer.execute("INSERT INTO seen VALUES ('not yet')")
        made = backup("make", tmp_path / "copies", *places)
        writer.rollback()
    assert made.returncode == 0, made.stderr
    (archive,) = (tmp_path / "copies").iterdir()
    assert made.stdout == f"{archive}\n"
    assert archive.stat().st_mode & 0o777 == 0o600

    new = tmp_path / "new"
    done = backup("restore", archive, "--results", new / "results", "--master", new / "master")
    assert done.returncode == 0, done.stderr
    assert rows(new / "results/store.sqlite3") == ["first", "second"]
    assert rows(new / "master/state.sqlite") == ["first"]
    assert (new / "results/trials/t1/stderr.txt").read_text() == "evidence\n"


def test_what_is_there_is_not_overwritten(tmp_path: Path, places: list[str | Path]) -> None:
    backup("make", tmp_path / "copies", *places)
    (archive,) = (tmp_path / "copies").iterdir()
    done = backup("restore", archive, *places)
    assert done.returncode == 1
    assert "is there already\n  -> stop tierlab and move it away first" in done.stderr


def test_the_oldest_copies_are_removed(tmp_path: Path, places: list[str | Path]) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    for day in range(1, 6):
        (copies / f"tierlab-2026010{day}T000000Z.tar.gz").touch()
    (copies / "notes.txt").touch()
    assert backup("make", copies, *places, "--keep", "3").returncode == 0
    names = sorted(path.name for path in copies.iterdir())
    assert names[:3] == ["notes.txt", *(f"tierlab-2026010{day}T000000Z.tar.gz" for day in (4, 5))]
    assert len(names) == 4


def test_a_damaged_store_is_told_and_leaves_no_copy(
    tmp_path: Path, places: list[str | Path]
) -> None:
    store = tmp_path / "results/store.sqlite3"
    store.write_bytes(b"no database" * 999)
    done = backup("make", tmp_path / "copies", *places)
    assert done.returncode == 1
    assert "backup: " in done.stderr
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.parametrize("name", ["results/../../outside", "elsewhere/file", "results"])
def test_an_archive_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "strange.tar.gz"
    with tarfile.open(archive, "w:gz") as made:
        made.add(PROGRAM, name)
    done = backup("restore", archive, "--results", tmp_path / "a/r", "--master", tmp_path / "a/m")
    assert done.returncode == 1
    assert "is of no backup" in done.stderr
    assert not (tmp_path / "outside").exists()
