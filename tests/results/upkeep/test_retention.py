"""Pruning: what is old goes, what waits or lies elsewhere stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from results.claims import assess, claims
from results.query import cells, count_trials, figures
from results.store import FILE_NAME, Store, StoreError
from results.upkeep.maintenance import SCRATCH
from results.upkeep.retention import Pruned, prune
from tests.results.capabilities import capability
from tests.results.records import record
from tests.results.stores import content, everything, with_evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent.parent
NOW = datetime.now(UTC)
OLD, NEW = NOW - timedelta(days=100), NOW - timedelta(days=10)
CUTOFF = NOW - timedelta(days=90)


def aged(folder: Path, time: datetime) -> None:
    """Make a folder and all in it look as if written at that time."""
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (time.timestamp(),) * 2, follow_symlinks=False)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Two old trials of which one waits to be sent, and a new one; and what else there is."""
    folder = tmp_path / "results"
    with Store.open(folder) as opened:
        opened.start_run("run-1", "")
        for name, time in (("sent", OLD), ("waits", OLD), ("new", NEW)):
            one = with_evidence(folder, name, started_at=time)
            workload = one.workload.model_copy(update={"model": name})
            opened.add(one.model_copy(update={"workload": workload}))
            aged(folder / "trials" / name, time)
        for name, time in (("c-old", OLD), ("c-new", NEW)):
            opened.add_capability(capability(name, started_at=time))
            (folder / "capabilities" / name).mkdir(parents=True)
        for time in (OLD, NEW):
            opened.add_finding(assess(claims()[0], [record("a")], [record("b")], time))
        with opened.transaction() as connection:
            connection.execute("DELETE FROM outbox WHERE trial_id = 'sent'")
            connection.execute("UPDATE runs SET started_at = ?", (OLD.isoformat(),))
        yield opened


def kept(store: Store) -> dict[str, list[str]]:
    folder = store.path.parent
    return {
        "records": [one.trial_id for one in store.records()],
        "folders": sorted(str(path.relative_to(folder)) for path in folder.glob("*/*")),
    }


ALL = {
    "records": ["sent", "waits", "new"],
    "folders": [
        "capabilities/c-new",
        "capabilities/c-old",
        "trials/new",
        "trials/sent",
        "trials/waits",
    ],
}
LEFT = ["capabilities/c-new", "trials/new", "trials/waits"]


def test_what_is_old_goes_and_what_waits_stays(store: Store) -> None:
    done = prune(store, CUTOFF)
    assert (done.records, done.capabilities, done.findings) == (1, 1, 1)
    assert (done.folders, done.orphans, done.waiting) == (2, 0, 1)
    assert done.freed_bytes >= 8192  # two files and their folders, in blocks of the disk
    assert kept(store) == {"records": ["waits", "new"], "folders": LEFT}
    assert [one.figures.trial_id for one in figures(store)] == ["new", "waits"]
    assert [cell.model for cell in cells(store)] == ["new", "waits"]
    assert [one.capability_id for one in store.capabilities()] == ["c-new"]
    assert [one.at for one in store.outcomes(run_id="run-1")] == [NEW]
    assert store.read("PRAGMA foreign_key_check") == []
    assert prune(store, CUTOFF) == Pruned(waiting=1)


def test_a_dry_run_tells_the_same_and_changes_nothing(store: Store) -> None:
    before = everything(store.path.parent)
    before.pop(f"{FILE_NAME}-shm")  # even a reader marks there what it reads
    would = prune(store, CUTOFF, dry_run=True)
    assert kept(store) == ALL
    after = everything(store.path.parent)
    after.pop(f"{FILE_NAME}-shm")
    assert after == before
    assert prune(store, CUTOFF) == would


def test_files_only(store: Store) -> None:
    done = prune(store, CUTOFF, files_only=True)
    assert (done.records, done.capabilities, done.findings) == (0, 0, 0)
    assert (done.folders, done.waiting) == (2, 1)
    assert kept(store) == {**ALL, "folders": LEFT}


def test_what_waits_goes_when_it_is_asked_for(store: Store) -> None:
    assert prune(store, CUTOFF, unsent=True).records == 2
    assert kept(store) == {"records": ["new"], "folders": ["capabilities/c-new", "trials/new"]}
    assert store.read("SELECT trial_id FROM outbox") == [("new",)]


def test_a_run_of_which_nothing_is_left_goes(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("INSERT INTO runs VALUES ('empty', ?, NULL, '')", (OLD.isoformat(),))
        connection.execute("INSERT INTO runs VALUES ('begun', ?, NULL, '')", (NEW.isoformat(),))
    for run in ("run-1", "empty", "begun"):
        (store.path.parent / "probes" / run).mkdir(parents=True)
    prune(store, CUTOFF)
    assert store.read("SELECT run_id FROM runs ORDER BY 1") == [("begun",), ("run-1",)]
    assert [path.name for path in (store.path.parent / "probes").iterdir()] == ["begun"]


def test_folders_of_nothing_go_when_they_are_old(store: Store) -> None:
    trials = store.path.parent / "trials"
    for name, time in (("killed", OLD), ("goes-on", NOW), ("grows", OLD)):
        (trials / name).mkdir()
        (trials / name / "a file").write_text("")
        aged(trials / name, time)
    (trials / "grows" / "another").write_text("")
    (trials / "a file").write_text("")
    done = prune(store, CUTOFF)
    assert (done.folders, done.orphans) == (3, 1)
    left = sorted(path.name for path in trials.iterdir())
    assert left == ["a file", "goes-on", "grows", "new", "waits"]


def test_nothing_outside_is_touched(store: Store, tmp_path: Path) -> None:
    folder, outside = store.path.parent, tmp_path / "outside"
    (outside / "sent").mkdir(parents=True)
    (outside / "sent" / "precious").write_text("")
    aged(outside, OLD)
    # A trial that is a link, a link inside a trial, and a whole kind that is a link.
    shutil.rmtree(folder / "trials" / "sent")
    (folder / "trials" / "sent").symlink_to(outside / "sent")
    (folder / "trials" / "orphan").mkdir()
    (folder / "trials" / "orphan" / "inside").symlink_to(outside)
    aged(folder / "trials" / "orphan", OLD)
    shutil.rmtree(folder / "capabilities")
    (folder / "capabilities").symlink_to(outside)
    (folder / f"{SCRATCH}left").symlink_to(outside)
    done = prune(store, CUTOFF, unsent=True)
    assert sorted(done.links) == ["capabilities", "trials/sent"]
    assert not (folder / "trials" / "orphan").exists()
    assert (outside / "sent" / "precious").exists()
    assert (folder / "trials" / "sent").is_symlink()


def test_what_a_killed_pruning_left_goes(store: Store) -> None:
    (store.path.parent / "trials" / f"{SCRATCH}removed-1" / "deep").mkdir(parents=True)
    prune(store, CUTOFF)
    assert not list(store.path.parent.rglob(".*"))


def test_too_near_a_time_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="less than 1 day"):
        prune(store, NOW)
    assert kept(store) == ALL


def test_a_folder_that_cannot_be_removed_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with pytest.raises(StoreError, match=r"c-old: cannot be removed: Permission denied|sent: "):
        prune(store, CUTOFF)


KILLED = """
import os, signal, sys
from datetime import datetime
from pathlib import Path
from results.upkeep.retention import prune
from results.store import Store
left = int(sys.argv[3])
def count(*_):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
with Store.open(Path(sys.argv[1])) as store:
    sys.addaudithook(lambda event, _: count() if event in ("os.rename", "os.rmdir") else None)
    store._connection.set_trace_callback(count)
    prune(store, datetime.fromisoformat(sys.argv[2]), unsent=True)
"""


def test_killed_at_any_moment_the_next_completes_it(store: Store, tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    with store.transaction():
        shutil.copytree(store.path.parent, calm)
    with Store.open(calm) as copy:
        prune(copy, CUTOFF, unsent=True)
    for step in (8, 14, 20, 26, 31, 34):
        killed = tmp_path / f"killed-{step}"
        with store.transaction():
            shutil.copytree(store.path.parent, killed)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, killed, CUTOFF.isoformat(), str(step)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (-signal.SIGKILL, ""), step
        for place in killed.glob("*/*"):
            aged(place, OLD)  # as it will be one day
        with Store.open(killed) as again:
            assert count_trials(again) == len(again.records())
            prune(again, CUTOFF, unsent=True)
        assert content(killed) == content(calm)
        left = {str(path.relative_to(killed)) for path in killed.rglob("*")}
        assert left == {str(path.relative_to(calm)) for path in calm.rglob("*")}


def test_compacting_gives_room_back(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "")
        for number in range(100):
            store.add(record(f"t{number}", started_at=OLD))
        store.compact()
        full = (tmp_path / FILE_NAME).stat().st_size
        prune(store, CUTOFF, unsent=True)
        assert store.free_bytes() > full / 2
        store.compact()
        assert store.free_bytes() == 0
        assert (tmp_path / FILE_NAME).stat().st_size < full / 2
