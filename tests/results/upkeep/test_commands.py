"""`tierlab store`: what it says, and the exit code."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness.cli import main
from results.record import Verdict
from results.store import FILE_NAME, Store
from tests.results.records import record
from tests.results.stores import filled, restore, with_evidence

OLD = datetime.now(UTC) - timedelta(days=100)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints; nothing of it drives a terminal."""
    assert main(["store", *words]) == code
    out, error = capsys.readouterr()
    assert "\x1b" not in out
    return out + error


def damage(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    "words", [["export", "a.parquet"], ["prune", "--older-than=90d"], ["check"]]
)
def test_without_results_nothing_is_made(
    capsys: pytest.CaptureFixture[str], here: Path, words: list[str]
) -> None:
    assert "tierlab-results: there are no results here" in said(capsys, *words, code=1)
    assert list(here.iterdir()) == []


def test_export(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    filled(here / "tierlab-results", "a", "b")
    assert said(capsys, "export", "all.parquet").startswith("all.parquet: 2 trials, ")
    assert pq.read_table("all.parquet").num_rows == 2
    said(capsys, "export", "none.parquet", "--model=gemma-7b")
    assert pq.read_table("none.parquet").num_rows == 0
    said(capsys, "export", "new.parquet", "--since=2025-01-02", "--run=run-1", "--records")
    assert pq.read_table("new.parquet", columns=["record"]).num_rows == 2
    assert "ends in .parquet" in said(capsys, "export", FILE_NAME, code=1)


def test_export_without_the_extra(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(here / "tierlab-results", "a")
    monkeypatch.delitem(sys.modules, "results.upkeep.export", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'tierlab[parquet]'" in said(capsys, "export", "a.parquet", code=1)
    assert not Path("a.parquet").exists()


def test_import(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    filled(here / "one", "a", "b")
    restore(here / "two", 3)
    assert said(capsys, "import", "one", "two").splitlines() == [
        "one: took 2 trials, 1 capability, 1 run; 2 folders of evidence, 0 kB",
        "two: took 4 trials, 2 findings, 2 capabilities, 1 run",
    ]
    again = said(capsys, "import", "one", "--no-files")
    assert again == "one: took 0 trials; 3 were here already\n"
    with Store.open(here / "tierlab-results") as store:
        assert len(store.records()) == 6


def test_import_of_what_is_another(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    filled(here / "tierlab-results", "a")
    with Store.open(here / "other") as store:
        store.start_run("run-1", "")
        store.add(record("a", verdict=Verdict.OOM))
        store.add(record("b\x1b[31m"))
    damage(here / "other", "UPDATE records SET body = '{}' WHERE trial_id LIKE 'b%'")
    out = said(capsys, "import", "other", code=1)
    assert "left, as another is here: trial a is another one here" in out
    assert "left, as it cannot be read: trial b\N{REPLACEMENT CHARACTER}[31m" in out
    assert "nowhere: there is no store.sqlite3 here" in said(capsys, "import", "nowhere", code=1)


def test_prune(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    folder = here / "tierlab-results"
    with Store.open(folder) as store:
        store.start_run("run-1", "")
        for name in ("a", "b"):
            store.add(with_evidence(folder, name, started_at=OLD))
        with store.transaction() as connection:
            connection.execute("DELETE FROM outbox WHERE trial_id = 'a'")
    would = said(capsys, "prune", "--older-than=90d", "--dry-run").splitlines()
    assert would[0].startswith("would remove 1 trial; 1 folder of evidence, ")
    assert would[1] == "kept 1 old trial: not sent to InfluxDB yet"
    assert "--unsent" in would[2]
    assert len(would) == 3
    done = said(capsys, "prune", "--older-than=12w").splitlines()
    assert [line.replace("removed", "would remove") for line in done[:3]] == would
    assert done[3].endswith("of the store are free for new records; --compact gives them back")
    compacted = said(capsys, "prune", "--older-than=90d", "--unsent", "--compact")
    assert compacted.splitlines()[1].startswith("the store is ")
    assert list((folder / "trials").iterdir()) == []


@pytest.mark.parametrize("age", ["90", "d", "0d", "1d", "-3d", "9999999d", "1.5w", "three weeks"])
def test_ages_that_are_none(capsys: pytest.CaptureFixture[str], age: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["store", "prune", f"--older-than={age}"])
    assert error.value.code == 2
    assert "no age above a day, such as 90d or 52w" in capsys.readouterr().err


def test_a_date_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["store", "export", "a.parquet", "--since=yesterday"])
    assert "yesterday is not a date such as 2026-05-31" in capsys.readouterr().err


def test_check(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    filled(here / "tierlab-results", *(f"t{number:02}" for number in range(25)))
    assert said(capsys, "check") == "25 trials: nothing is wrong\n"
    damage(here / "tierlab-results", "UPDATE figures SET host = 'another'")
    wrong = said(capsys, "check", code=1).splitlines()
    assert wrong[0] == "wrong: trial t00: its figures differ from its body"
    assert wrong[20] == "wrong: 5 more"
    assert wrong[21] == "25 trials: 25 problems"
    assert "--repair" in wrong[22]
    mended = said(capsys, "check", "--repair").splitlines()
    assert mended[20:] == ["mended: 5 more", "25 trials: nothing is wrong"]
    assert said(capsys, "check") == "25 trials: nothing is wrong\n"


def test_check_of_what_was_pruned(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    restore(here / "tierlab-results", 4)
    assert said(capsys, "check") == (
        "4 trials: nothing is wrong; the evidence of 5 is not here (pruned, or never imported)\n"
    )


@pytest.mark.parametrize("command", ["", "export", "import", "prune", "check"])
def test_help_has_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(["store", *command.split(), "--help"])
    assert done.value.code == 0
    assert f"  tierlab store {command}" in capsys.readouterr().out
