"""Journals of other programs: every event once, whatever else stands in the file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.fleet.events import Event, EventKind, events
from results.fleet.journal import MOST_BYTES, absorb
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


def event(number: int) -> Event:
    told = Event.now(EventKind.JOB, f"job {number}", run_id="run-1", number=number)
    return told.model_copy(update={"event_id": f"e{number}"})


def line(number: int) -> bytes:
    return event(number).model_dump_json().encode() + b"\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path


@pytest.fixture
def store(results: Path) -> Iterator[Store]:
    with Store.open(results) as opened:
        yield opened


def known(store: Store) -> list[str]:
    return sorted(one.event_id for one in events(store))


def test_every_line_is_taken_once(store: Store, results: Path) -> None:
    path = results / "journal" / "controller.jsonl"
    path.write_bytes(line(1) + line(2))
    assert absorb(store, results).new == 2
    assert absorb(store, results).new == 0
    with path.open("ab") as file:
        file.write(line(3) + line(1))
    (results / "journal" / "other.jsonl").write_bytes(line(4))
    assert absorb(store, results).new == 2
    assert known(store) == ["e1", "e2", "e3", "e4"]
    assert events(store)[0].detail == {"number": 1}


def test_a_line_that_is_still_written_is_left_for_the_next_time(
    store: Store, results: Path
) -> None:
    path = results / "journal" / "a.jsonl"
    whole = line(1) + line(2)
    for size in range(1, len(whole), 97):
        path.write_bytes(whole[:size])
        assert absorb(store, results).bad == []
    path.write_bytes(whole)
    assert absorb(store, results).bad == []
    assert known(store) == ["e1", "e2"]


def test_what_is_no_event_is_told_once_and_harms_no_other(store: Store, results: Path) -> None:
    path = results / "journal" / "a.jsonl"
    wrong = [
        b'{"event_id": "x"',
        b"\xff\xfe",
        b"[]",
        b'{"event_id": "\x1b[31m"}',
        json.dumps({**json.loads(line(9)), "kind": "\x1b[31mguess"}).encode(),
        json.dumps({**json.loads(line(9)), "at": "0001-01-01T00:00:00+14:00"}).encode(),
        b"[" * 10_000,
        b" " * MOST_BYTES + line(8).strip(),
    ]
    path.write_bytes(b"".join(line(1) + one + b"\n\n" for one in wrong) + line(2))
    done = absorb(store, results)
    assert (done.new, len(done.bad)) == (2, len(wrong))
    assert all(text.startswith("a.jsonl, byte ") and text.isprintable() for text in done.bad)
    assert absorb(store, results).bad == []
    assert known(store) == ["e1", "e2"]


def test_a_file_that_was_replaced_is_read_from_its_beginning(store: Store, results: Path) -> None:
    path = results / "journal" / "a.jsonl"
    path.write_bytes(line(1) + line(2))
    absorb(store, results)
    path.with_suffix(".new").write_bytes(line(3) + line(4) + line(5))
    path.with_suffix(".new").rename(path)
    assert absorb(store, results).new == 3
    path.write_bytes(line(6))  # shorter: begun anew
    assert absorb(store, results).new == 1


def test_a_portion_ends_anywhere(
    store: Store, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("results.fleet.journal._PORTION_BYTES", 700)
    path = results / "journal" / "a.jsonl"
    path.write_bytes(b"".join(map(line, range(5))) + b"x" * 2000 + b"\n" + line(5))
    done = absorb(store, results)
    assert (done.new, known(store)) == (6, [f"e{n}" for n in range(6)])
    assert done.bad


def test_neither_links_nor_pipes_are_read(store: Store, results: Path) -> None:
    secret = results / "secret"
    secret.write_bytes(line(1))
    (results / "journal" / "link.jsonl").symlink_to(secret)
    os.mkfifo(results / "journal" / "pipe.jsonl")
    assert absorb(store, results).new == 0


def test_without_a_journal_there_is_nothing_to_do(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert absorb(store, tmp_path).new == 0


GARBAGE = st.binary(max_size=30).map(lambda text: text.replace(b"\n", b" "))
LINES = st.lists(st.integers(0, 5).map(line) | GARBAGE.map(lambda text: text + b"\n"), max_size=8)


@given(LINES, st.data())
@settings(max_examples=30, deadline=None)
def test_whatever_stands_in_a_journal_and_whenever_it_is_read(
    lines: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
    with tempfile.TemporaryDirectory() as name, Store.open(Path(name)) as store:
        path = Path(name) / "journal" / "a.jsonl"
        path.parent.mkdir()
        new, bad = 0, 0
        for cut in (*cuts, len(whole)):
            path.write_bytes(whole[:cut])
            done = absorb(store, Path(name))
            new, bad = new + done.new, bad + len(done.bad)
        valid = [one for one in lines if one.startswith(b'{"event_id":"e')]
        assert new == len(known(store)) == len({json.loads(one)["event_id"] for one in valid})
        assert bad == sum(bool(one.strip()) and one not in valid for one in lines)
