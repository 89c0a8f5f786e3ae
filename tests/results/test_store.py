"""The embedded store: whole records only, whatever happens to those who write them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from results.claims import assess, claims
from results.migrations import MIGRATIONS
from results.record import Record, Verdict
from results.response import measured_response
from results.store import FILE_NAME, Store, StoreError
from tests.other_users import let_in
from tests.results.records import RECORDS, record

if TYPE_CHECKING:
    from results.claims import Outcome
    from results.response import Response

ROOT = Path(__file__).parent.parent.parent
FORK = multiprocessing.get_context("spawn")


def filled(directory: Path, *trials: str, run_id: str = "run-1") -> None:
    with Store.open(directory) as store:
        store.start_run(run_id, "a command")
        for trial in trials:
            store.add(record(trial, run_id))


def in_a_process(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a piece of Python that ends by itself, from the root of the project."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


# ---- what goes in comes out ----


@settings(max_examples=25, deadline=None)  # each waits for the disk
@given(RECORDS)
def test_any_record_comes_back(whole: Record) -> None:
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        store.start_run(whole.run_id, "a command")
        store.add(whole)
        assert store.records() == [whole]


def test_runs_are_told_apart(tmp_path: Path) -> None:
    filled(tmp_path, "a", "b", run_id="one")
    filled(tmp_path, "c", run_id="two")
    with Store.open(tmp_path) as store:
        assert [r.trial_id for r in store.records(run_id="one")] == ["a", "b"]
        assert [r.trial_id for r in store.records()] == ["a", "b", "c"]
        assert store.records(run_id="three") == []
        assert store.latest_run() == "two"


def test_an_empty_store_has_no_run(tmp_path: Path) -> None:
    with Store.open(tmp_path / "new" / "folder") as store:
        assert store.latest_run() is None
        assert store.records() == []


def test_the_same_trial_is_stored_once(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    with Store.open(tmp_path) as store:
        store.add(record("a", verdict=Verdict.OOM))
        assert [r.verdict for r in store.records()] == [Verdict.OK]


def test_a_run_has_one_start_and_its_last_end(tmp_path: Path) -> None:
    filled(tmp_path)
    with Store.open(tmp_path) as store:
        times = "SELECT command, started_at, ended_at FROM runs"
        (before,) = store.read(times)
        ends = []
        for _ in range(2):
            store.start_run("run-1", "another command")
            store.finish_run("run-1")
            ((command, began, ended),) = store.read(times)
            assert (command, began) == before[:2]
            ends.append(ended)
    assert began <= ends[0] <= ends[1]
    assert command == "a command"


def test_a_record_of_no_run_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(StoreError, match="cannot be written: FOREIGN KEY"):
            store.add(record())
        store.start_run("run-1", "")
        store.add(record())  # the failure left no transaction open
        assert len(store.records()) == 1


# ---- several at once, and killed ----


def write_many(directory: Path, name: str, count: int) -> None:
    with Store.open(directory) as store:
        store.start_run(name, name)
        for number in range(count):
            store.add(record(f"{name}-{number}", name))


def test_four_processes_make_and_fill_one_store(tmp_path: Path) -> None:
    writers = [FORK.Process(target=write_many, args=(tmp_path, f"w{n}", 20)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    with Store.open(tmp_path) as store:
        assert len(store.records()) == 80
        for number in range(4):
            assert len(store.records(run_id=f"w{number}")) == 20


def test_a_killed_writer_leaves_whole_records(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from results.store import Store
from tests.results.records import record
with Store.open(Path(sys.argv[1])) as store:
    store.start_run("run-1", "")
    number = 0
    while True:
        store.add(record(f"{number:06}"))
        print(number, flush=True)
        number += 1
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 30:
                writer.send_signal(signal.SIGKILL)
                break
        told = 30 + len(writer.stdout.read().splitlines())
    with Store.open(tmp_path) as store:
        kept = [r.trial_id for r in store.records()]
        store.add(record("after"))
    # All that it spoke of, and at most the one that it was about to speak of.
    assert kept == [f"{number:06}" for number in range(len(kept))]
    assert told + 1 <= len(kept) <= told + 2


def test_a_migration_is_applied_once_by_two_processes(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import results.migrations as m
from results.store import Store
m.MIGRATIONS = (*m.MIGRATIONS, "ALTER TABLE runs ADD COLUMN note TEXT", "CREATE TABLE more (a)")
sys.stdin.readline()
Store.open(Path(sys.argv[1])).close()
"""
    filled(tmp_path, "a")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, tmp_path], cwd=ROOT,
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    assert [writer.communicate(timeout=60)[1] for writer in writers] == ["", ""]
    assert [writer.returncode for writer in writers] == [0, 0]
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 2,)
        assert connection.execute("SELECT count(*), max(note) FROM runs").fetchone() == (1, None)
    connection.close()


# ---- what cannot be used ----


def test_a_store_of_a_newer_tierlab_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    newer = rf"sqlite3: was written by a newer tierlab \(schema {len(MIGRATIONS) + 1}, known"
    with pytest.raises(StoreError, match=newer):
        Store.open(tmp_path)


def test_a_record_of_a_newer_tierlab_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, "a")
    body = json.dumps({**record("a").model_dump(mode="json"), "schema_version": 2})
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE records SET body = ?", (body,))
    connection.close()
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="trial a cannot be read"):
        store.records()


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("a letter to nobody in particular\n" * 50)
    with pytest.raises(StoreError, match="cannot be used: file is not a database"):
        Store.open(tmp_path)


def test_a_damaged_store_is_told(tmp_path: Path) -> None:
    filled(tmp_path, *(f"t{number}" for number in range(50)))
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))

    def use() -> None:
        with Store.open(tmp_path) as store:
            store.records()

    with pytest.raises(StoreError, match=f"{FILE_NAME}: cannot be (read|used): "):
        use()


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened: "):
        Store.open(tmp_path / "file")
    (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be opened: "):
        Store.open(tmp_path / "folder")


# Nothing is forbidden to root: there the process steps down first, once all is imported.
STEP_DOWN = """
import os, sys
from pathlib import Path
from results.store import Store, StoreError
if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)
"""


def test_a_read_only_directory(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    filled(folder, "a")
    folder.chmod(0o555)
    for file in folder.iterdir():
        file.chmod(0o444)
    let_in(tmp_path)
    code = STEP_DOWN + (
        "try: Store.open(Path(sys.argv[1]))\n"
        "except StoreError as error: print(error)\n"
    )  # fmt: skip
    for place in (folder, folder / "inner"):
        done = in_a_process(code, place)
        assert done.stderr == ""
        assert done.stdout.startswith(f"{place / FILE_NAME}: cannot be ")
    folder.chmod(0o755)


def test_a_full_disk_is_told_and_costs_no_record(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from results.store import Store, StoreError
from tests.results.records import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path(sys.argv[1]))
store.start_run("run-1", "")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
stored = 0
try:
    while stored < 1000:
        store.add(record(f"{stored:06}"))
        stored += 1
except StoreError as error:
    print(stored, error)
# Room again: the same store goes on.
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.add(record("after"))
"""
    done = in_a_process(code, tmp_path)
    assert done.stderr == ""
    stored, _, message = done.stdout.strip().partition(" ")
    assert message.startswith(f"{tmp_path / FILE_NAME}: cannot be written: ")
    assert "rollback" not in message
    assert int(stored) > 0
    with Store.open(tmp_path) as store:
        kept = [r.trial_id for r in store.records()]
    assert kept == [*(f"{number:06}" for number in range(int(stored))), "after"]


def test_a_store_is_closed_by_its_block(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        pass
    with pytest.raises(StoreError, match="cannot be read: Cannot operate on a closed database"):
        store.records()
    assert os.listdir(tmp_path) == [FILE_NAME]  # noqa: PTH208 - no journal is left


# ---- findings ----


def test_findings_are_kept_by_run_and_kind(tmp_path: Path) -> None:
    claim, response = outcome(), answer()
    with Store.open(tmp_path) as store:
        for run in ("run-1", "other"):
            store.start_run(run, "a command")
        store.add_finding(claim)
        store.add_finding(response)
        store.add_finding(response.model_copy(update={"run_id": "other"}))
    with Store.open(tmp_path) as store:
        assert store.outcomes(run_id="run-1") == [claim]
        assert store.responses(run_id="run-1") == [response]
        assert store.outcomes(run_id="other") == []


def test_a_finding_of_no_run_is_refused(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="FOREIGN KEY"):
        store.add_finding(outcome())


def test_a_finding_that_cannot_be_read_is_no_finding(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "a command")
        store.add_finding(outcome())
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.execute("UPDATE findings SET body = '{}'")
    connection.close()
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="finding cannot be read"):
        store.outcomes(run_id="run-1")


def test_a_store_from_before_findings_gains_them(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        connection.executescript(MIGRATIONS[0])
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    filled(tmp_path, "a")
    with Store.open(tmp_path) as store:
        store.add_finding(outcome())
        assert [r.trial_id for r in store.records()] == ["a"]
        assert store.outcomes(run_id="run-1") == [outcome()]


def outcome() -> Outcome:
    return assess(claims()[0], [record("a")], [record("b")], datetime(2025, 1, 2, tzinfo=UTC))


def answer() -> Response:
    return measured_response([record("a")], datetime(2025, 1, 2, tzinfo=UTC))
