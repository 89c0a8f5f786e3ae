"""A check finds what is wrong, and a repair mends all that follows from the bodies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from results.figures import CellKey, Figures
from results.query import cells, figures
from results.store import FILE_NAME, Store, StoreError
from results.upkeep.integrity import Report, check
from tests.results.capabilities import capability
from tests.results.records import record
from tests.results.stores import TRIALS, VERSIONS, content, filled, restore

if TYPE_CHECKING:
    from pathlib import Path


def damage(folder: Path, *statements: str) -> None:
    """Do to a store what its own code never does."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
            # What was changed in the schema by hand counts from the next reading on.
            connection.commit()
            connection.execute("PRAGMA writable_schema = RESET")
            connection.execute("PRAGMA writable_schema = ON")


def checked(folder: Path, *, repair: bool = False) -> Report:
    with Store.open(folder) as store:
        return check(store, repair=repair)


def texts(report: Report) -> list[str]:
    return [problem.text for problem in report.problems]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_store_is_sound(tmp_path: Path, version: int) -> None:
    restore(tmp_path, version)
    report = checked(tmp_path)
    assert report == Report(records=4, without_evidence=5 if version >= 3 else 4)
    assert report.sound


def test_progress_counts_records(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "")
    told: list[tuple[int, int]] = []
    with Store.open(tmp_path) as store:
        report = check(store, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3), (3, 3)]
    assert report.records == 3


MENDABLE = {
    "trial a has no figures": "DELETE FROM figures WHERE trial_id = 'a'",
    "trial a: its figures differ from its body": "UPDATE figures SET decode_tokens_per_s = 99"
    " WHERE trial_id = 'a'",
    "trial b: its figures differ from its body": "UPDATE figures SET tier = NULL, cell_id = 1"
    " WHERE trial_id = 'b'",
    "trial a: its columns differ from its body: started_at, verdict": "UPDATE records"
    " SET started_at = '2020', verdict = 'oom' WHERE trial_id = 'a'",
    "1 row of outbox without their records": "INSERT INTO outbox (trial_id) VALUES ('gone')",
    "2 rows of records without their runs": "DELETE FROM runs",
    "1 row of figures without their cells": "UPDATE figures SET cell_id = 77 WHERE trial_id = 'a'",
    "nonsense is no key of a cell": "INSERT INTO cells (key) VALUES ('nonsense')",
}


@pytest.mark.parametrize("problem", MENDABLE)
def test_what_follows_from_bodies_is_mended(tmp_path: Path, problem: str) -> None:
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "")
        store.add(record("b", device=record().device.model_copy(update={"profile": "phone"})))
        store.add(record("a"))
    before = content(tmp_path)
    damage(tmp_path, MENDABLE[problem])

    found = checked(tmp_path)
    assert problem in texts(found)
    assert not found.sound
    assert texts(checked(tmp_path)) == texts(found)  # a check changes nothing

    mended = checked(tmp_path, repair=True)
    assert problem in texts(mended)
    assert mended.sound
    assert checked(tmp_path) == Report(records=2)
    after = content(tmp_path)
    if "runs" in problem:
        assert after["runs"] == [("run-1", before["records"][0][2], None, "(unknown)")]
        after["runs"] = before["runs"]
    assert after == before


def test_everything_at_once(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    before = content(tmp_path)
    damage(
        tmp_path,
        "DELETE FROM figures WHERE trial_id = 'a'",
        "UPDATE figures SET host = 'another' WHERE trial_id = 'b'",
        "UPDATE records SET model = 'another' WHERE trial_id = 'c'",
        "INSERT INTO outbox (trial_id) VALUES ('gone')",
        "UPDATE cells SET key = '[]'",
    )
    report = checked(tmp_path, repair=True)
    # Their cell could not be read, so that the figures of all three were made anew.
    assert len(report.problems) == 6
    assert report.sound
    assert content(tmp_path) == before
    with Store.open(tmp_path) as store:
        assert len(cells(store)) == 1
        assert [one.figures for one in figures(store)] == [
            Figures.of(one) for one in reversed(store.records())
        ]
        assert cells(store) == [CellKey.of(record())]


def test_figures_of_no_record_go(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    damage(tmp_path, "DELETE FROM records WHERE trial_id = 'a'")
    report = checked(tmp_path, repair=True)
    assert sorted(texts(report)) == [
        "1 row of figures without their records",
        "1 row of outbox without their records",
    ]
    assert checked(tmp_path) == Report(records=1)


def test_bodies_are_never_changed(tmp_path: Path) -> None:
    restore(tmp_path, 4)
    damage(
        tmp_path,
        "UPDATE records SET body = '{' WHERE trial_id LIKE '%11'",
        "UPDATE records SET body = (SELECT body FROM records WHERE trial_id LIKE '%13')"
        " WHERE trial_id LIKE '%12'",
        "UPDATE findings SET body = '[]' WHERE kind = 'claim'",
        "UPDATE findings SET kind = 'guess' WHERE kind = 'response'",
        "UPDATE capabilities SET body = '' WHERE backend = 'webgl'",
    )
    before = content(tmp_path)
    report = checked(tmp_path, repair=True)
    assert [text.partition(":")[0] for text in texts(report)] == [
        f"the record of trial {TRIALS[0]} cannot be read",
        f"trial {TRIALS[1]} holds the record of {TRIALS[2]}",
        "a finding of kind 'claim' cannot be read",
        "a finding of kind 'guess' is not known",
        "capability 7c2f0d4c9a7f4e02b6a3c8d1f0e29a20 cannot be read",
    ]
    assert not any(problem.mended for problem in report.problems)
    assert not report.sound
    assert content(tmp_path) == before


# ---- evidence ----


def test_evidence_that_is_missing(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", "c")
    assert checked(tmp_path) == Report(records=3)
    (tmp_path / "trials" / "a" / "memory-curve.json").unlink()
    for path in sorted((tmp_path / "trials" / "b").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "trials" / "b").rmdir()
    report = checked(tmp_path)
    assert texts(report) == ["trial a: evidence is missing: trials/a/memory-curve.json"]
    assert report.without_evidence == 1


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "trials/b/x", "trials/a/../../x", "..", "capabilities/a/x"]
)
def test_evidence_elsewhere(tmp_path: Path, path: str) -> None:
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "")
        store.add(record("a", files={"x": path}))
        store.add_capability(capability("c", files={"x": "capabilities/c/x"}))
    report = checked(tmp_path)
    assert texts(report) == [f"trial a names evidence outside of its folder: {path}"]
    assert report.without_evidence == 1


# ---- damage of the file itself ----


def test_an_index_that_lacks_a_row_is_made_anew(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b")
    before = content(tmp_path)
    # The index is forgotten while a row is removed and added again, and remembered.
    damage(
        tmp_path,
        "CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'records_by_run'",
        "CREATE TABLE saved AS SELECT * FROM records WHERE trial_id = 'a'",
        "DELETE FROM sqlite_schema WHERE name = 'records_by_run'",
        "DELETE FROM records WHERE trial_id = 'a'",
        "INSERT INTO records SELECT * FROM saved",
        "INSERT INTO sqlite_schema SELECT * FROM kept",
        "DROP TABLE saved",
        "DROP TABLE kept",
    )
    report = checked(tmp_path)
    assert "row" in texts(report)[0]
    assert "missing from index records_by_run" in texts(report)[0]
    assert not report.sound
    report = checked(tmp_path, repair=True)
    assert report.sound
    assert checked(tmp_path).problems == []
    assert content(tmp_path) == before


def test_pages_that_are_damaged_are_told(tmp_path: Path) -> None:
    filled(tmp_path, *(f"t{number}" for number in range(50)))
    path = tmp_path / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        ((page,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'records'")
    whole = bytearray(path.read_bytes())
    whole[4096 * (page - 1) : 4096 * page] = b"\xff" * 4096
    path.write_bytes(whole)
    for repair in (False, True):
        report = checked(tmp_path, repair=repair)
        assert texts(report)[0].startswith("the file is damaged: ")
        assert "take a copy from before" in texts(report)[0]
        assert not report.sound


def test_a_file_that_cannot_be_read_at_all(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    (tmp_path / FILE_NAME).write_bytes(b"\0" * 8192)
    with pytest.raises(StoreError, match="not a database"):
        checked(tmp_path)
