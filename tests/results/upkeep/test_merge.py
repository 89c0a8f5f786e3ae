"""Importing other hosts' results: everything once, nothing half, nothing of theirs changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from results.migrations import MIGRATIONS
from results.record import Verdict
from results.store import FILE_NAME, Store, StoreError
from results.upkeep.maintenance import exclusive
from results.upkeep.merge import Merged, merge
from tests.results.records import record
from tests.results.stores import (
    RUN,
    TRIALS,
    VERSIONS,
    content,
    everything,
    filled,
    restore,
    with_evidence,
)

ROOT = Path(__file__).parent.parent.parent.parent


def taken(here: Path, other: Path, *, files: bool = True) -> Merged:
    with Store.open(here) as store:
        return merge(store, other, files=files)


def test_two_hosts_become_one(tmp_path: Path) -> None:
    here, one, other = tmp_path / "here", tmp_path / "one", tmp_path / "other"
    filled(here, "a", run_id="run-0")
    filled(one, "b", "c", run_id="run-1")
    filled(other, "d", run_id="run-2")
    before = everything(other)

    done = taken(here, one)
    assert (done.runs, done.records, done.capabilities, done.folders) == (1, 2, 1, 2)
    assert done.copied_bytes == sum(
        path.stat().st_size for path in (one / "trials").rglob("*") if path.is_file()
    )
    assert taken(here, other).clean
    assert everything(other) == before

    with Store.open(here) as store:
        assert [r.trial_id for r in store.records()] == ["a", "b", "c", "d"]
        for name in ("a", "b", "c", "d"):
            kept = store.record(name)
            assert kept is not None
            for file in kept.files.values():
                assert (here / file).read_text().endswith(f"of {name}")
        assert store.read("PRAGMA foreign_key_check") == []
    assert not list(here.rglob(".*"))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_second_import_takes_nothing(tmp_path: Path, version: int) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    restore(other, version)
    taken(here, other)
    before = content(here)
    assert taken(here, other) == Merged(known=6 if version >= 3 else 4)
    assert content(here) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_an_older_store_is_migrated_in_the_copy_only(tmp_path: Path, version: int) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    path = restore(other, version)
    before = everything(other)
    done = taken(here, other)
    assert everything(other) == before
    assert done.clean
    assert (done.runs, done.records) == (1, 4)
    assert done.findings == (2 if version >= 2 else 0)
    assert done.capabilities == (2 if version >= 3 else 0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    Store.open(other).close()
    assert content(here) == content(other)


def test_a_run_that_goes_on_is_completed_later(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(here)
    with Store.open(other) as store:
        store.start_run("later", "")
        store.add(with_evidence(other, "a", run_id="later"))
        # It is open, and all of it is still in the journal.
        assert (other / f"{FILE_NAME}-wal").stat().st_size > 0
        names = sorted(os.listdir(other))  # noqa: PTH208 - names only
        assert taken(here, other).records == 1
        assert sorted(os.listdir(other)) == names  # noqa: PTH208
        store.add(with_evidence(other, "b", run_id="later"))
        store.finish_run("later")
    assert taken(here, other) == Merged(
        records=1, known=1, folders=1, copied_bytes=len("memory-curve.json of b" * 2) + 7
    )
    with Store.open(here) as store:
        ((ended,),) = store.read("SELECT ended_at FROM runs WHERE run_id = 'later'")
        assert ended is not None


def test_the_journal_of_a_killed_host_counts(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    with Store.open(tmp_path / "live") as store:
        store.start_run("run-1", "")
        store.add(record("a"))
        other.mkdir()
        for end in ("", "-wal"):
            shutil.copy(tmp_path / "live" / f"{FILE_NAME}{end}", other)
    before = everything(other)
    assert taken(here, other).records == 1
    assert everything(other) == before


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(here, "a")
    with pytest.raises(StoreError, match=r"other: there is no store\.sqlite3 here"):
        taken(here, other)
    with pytest.raises(StoreError, match="is the results folder that would be imported into"):
        taken(here, here / ".." / "here")
    other.mkdir()
    (other / FILE_NAME).write_text("a letter to nobody in particular\n" * 50)
    with pytest.raises(StoreError, match=rf"^{other / FILE_NAME}: .* not a database"):
        taken(here, other)
    (other / FILE_NAME).unlink()
    filled(other, "b")
    with closing(sqlite3.connect(other / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    with pytest.raises(StoreError, match=rf"^{other / FILE_NAME}: was written by a newer tierlab"):
        taken(here, other)
    with Store.open(here) as store:
        assert [r.trial_id for r in store.records()] == ["a"]


def test_another_record_of_the_same_trial_is_told_and_left(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(here, "a")
    with Store.open(other) as store:
        store.start_run("run-1", "")
        store.add(record("a", verdict=Verdict.OOM))
        store.add(record("b"))
    before = everything(here)["trials/a/memory-curve.json"]
    done = taken(here, other)
    assert done.conflicts == ["trial a is another one here; it was left"]
    assert not done.clean
    assert done.records == 1
    assert everything(here)["trials/a/memory-curve.json"] == before
    with Store.open(here) as store:
        assert [r.verdict for r in store.records()] == [Verdict.OK, Verdict.OK]


def test_the_same_record_in_other_words_is_the_same(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(here, "a")
    filled(other, "a")
    with closing(sqlite3.connect(other / FILE_NAME)) as connection:
        ((body,),) = connection.execute("SELECT body FROM records").fetchall()
        older = json.loads(body)
        del older["workload"]["variant"]  # has a default
        connection.execute("UPDATE records SET body = ?", (json.dumps(older, indent=1),))
        connection.commit()
    assert taken(here, other) == Merged(known=2)


def test_what_cannot_be_read_is_told_and_not_taken(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    restore(other, 4)
    Store.open(here).close()
    with closing(sqlite3.connect(other / FILE_NAME)) as connection:
        body = connection.execute(
            "SELECT body FROM records WHERE trial_id = ?", (TRIALS[0],)
        ).fetchone()
        for query, values in (
            ("UPDATE records SET body = '{}' WHERE trial_id = ?", (TRIALS[1],)),
            ("UPDATE records SET body = ? WHERE trial_id = ?", (*body, TRIALS[2])),
            ("UPDATE findings SET kind = 'guess' WHERE kind = 'claim'", ()),
            ("UPDATE findings SET body = '[]' WHERE kind = 'response'", ()),
            ("UPDATE capabilities SET body = '' WHERE backend = 'webgl'", ()),
        ):
            assert connection.execute(query, values).rowcount == 1
        connection.commit()
    done = taken(here, other)
    assert (done.records, done.findings, done.capabilities) == (2, 0, 1)
    assert len(done.unreadable) == 5
    assert f"{TRIALS[2]} of run {RUN} holds {TRIALS[0]} of run {RUN}" in done.unreadable
    assert "'guess' is not known here" in str(done.unreadable)


def test_trials_of_no_run_are_told(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(other, "a", "b")
    with closing(sqlite3.connect(other / FILE_NAME)) as connection:
        connection.execute("UPDATE records SET run_id = 'none' WHERE trial_id = 'b'")
        connection.commit()
    done = taken(here, other)
    assert done.records == 1
    assert done.unreadable[0].startswith("1 trials belong to no run")


# ---- evidence ----


def test_without_files(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(other, "a")
    done = taken(here, other, files=False)
    assert (done.records, done.folders) == (1, 0)
    assert sorted(path.name for path in here.iterdir()) == [FILE_NAME]
    # Later they are wanted after all.
    assert taken(here, other).folders == 1
    assert (here / "trials" / "a" / "memory-curve.json").exists()


def test_neither_links_nor_pipes_are_taken(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(other, "a", "b")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    place = other / "trials" / "a"
    (place / "link").symlink_to(secret / "key")
    (place / "folder").symlink_to(secret)
    os.mkfifo(place / "pipe")
    shutil.rmtree(other / "trials" / "b")
    (other / "trials" / "b").symlink_to(secret)
    done = taken(here, other)
    assert (done.records, done.folders) == (2, 1)
    kept = sorted(str(path.relative_to(here)) for path in (here / "trials").rglob("*"))
    assert kept == [
        "trials/a",
        "trials/a/memory-curve.json",
        "trials/a/probe",
        "trials/a/probe/browser-stderr.log",
    ]


@pytest.mark.parametrize("name", ["../../stolen", "/stolen", "..", "a/b", ""])
def test_a_trial_cannot_name_a_folder_elsewhere(tmp_path: Path, name: str) -> None:
    here, other = tmp_path / "deep" / "here", tmp_path / "other"
    here.mkdir(parents=True)
    with Store.open(other) as store:
        store.start_run("run-1", "")
        store.add(record(name))
    (other / "trials").mkdir()
    (tmp_path / "stolen").mkdir()
    done = taken(here, other)
    assert (done.records, done.folders) == (1, 0)
    assert sorted(path.name for path in here.iterdir()) == [FILE_NAME]
    assert sorted(path.name for path in here.parent.iterdir()) == ["here"]


# ---- killed, and at once ----

KILLED = """
import os, signal, sys
from pathlib import Path
import results.upkeep.merge as m
from results.store import Store
m._PORTION = 3
left = int(sys.argv[3])
def count(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
real = m.copy_evidence
def copy(*folders):
    count()
    return real(*folders)
m.copy_evidence = copy
with Store.open(Path(sys.argv[1])) as store:
    store._connection.set_trace_callback(count)
    m.merge(store, Path(sys.argv[2]))
"""


def test_killed_at_any_moment_it_is_completed_by_the_next(tmp_path: Path) -> None:
    other, calm = tmp_path / "other", tmp_path / "calm"
    restore(other, 4)
    filled(other, *(f"t{number}" for number in range(8)))
    taken(calm, other)
    # Amid folders and amid transactions; the last one is that of the findings.
    for moment in (1, 9, 26, 48, 70, 97, 113):
        here = tmp_path / f"killed-{moment}"
        done = subprocess.run(
            [sys.executable, "-c", KILLED, here, other, str(moment)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
        with Store.open(here) as store:
            kept = [one.trial_id for one in store.records()]
            for query in ("SELECT trial_id FROM figures", "SELECT trial_id FROM outbox"):
                assert sorted(name for (name,) in store.read(query)) == sorted(kept)
        for name in kept:
            if name not in TRIALS:  # those of the dump have no evidence
                assert (here / "trials" / name / "probe" / "browser-stderr.log").exists()
        assert taken(here, other).clean
        assert content(here) == content(calm)
        assert hashes(here / "trials") == hashes(calm / "trials")
        assert not list(here.rglob(".*"))


def hashes(folder: Path) -> dict[str, str]:
    return {name: digest for name, (digest, _) in everything(folder).items()}


def test_one_at_a_time(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(here)
    filled(other, "a")
    with exclusive(here), pytest.raises(StoreError, match="another import, prune or repair"):
        taken(here, other)
    assert taken(here, other).records == 1


def test_progress_counts_trials(tmp_path: Path) -> None:
    here, other = tmp_path / "here", tmp_path / "other"
    filled(other, "a", "b")
    told: list[tuple[int, int]] = []
    with Store.open(here) as store:
        merge(store, other, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 2), (2, 2)]
