"""The journal that a program writes beside the store, and the store takes up."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from harness.fleet.journal_file import JournalFile
from results.fleet.events import Event, EventKind, events
from results.fleet.journal import absorb
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


def event(text: str) -> Event:
    return Event.now(EventKind.JOB, text, run_id="run-1")


def test_what_is_written_is_read_again_and_taken_up_once(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, "buildbot")
    written = [event(f"line {number}") for number in range(3)]
    for one in written:
        journal.append(one)
    assert list(journal.since(DAY)) == written
    with Store.open(tmp_path) as store:
        assert absorb(store, tmp_path).new == 3
        assert absorb(store, tmp_path).new == 0
        assert [one.text for one in events(store, run_id="run-1")] == ["line 0", "line 1", "line 2"]


def test_a_line_that_a_power_cut_left_in_half_spoils_no_other(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, "buildbot")
    journal.append(event("before"))
    (path,) = (tmp_path / "journal").iterdir()
    with path.open("ab") as file:
        file.write(b'{"event_id": "half')
    journal.append(event("after"))
    assert [one.text for one in journal.since(DAY)] == ["before", "after"]
    with Store.open(tmp_path) as store:
        done = absorb(store, tmp_path)
    assert (done.new, len(done.bad)) == (2, 1)


def test_journals_of_others_and_old_ones_are_left_alone(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, "buildbot")
    assert list(journal.since(DAY)) == []
    JournalFile(tmp_path, "another").append(event("of another program"))
    (tmp_path / "journal" / "buildbot-2020-01-01.jsonl").write_text(
        event("long ago").model_dump_json() + "\n"
    )
    assert list(journal.since(DAY)) == []
