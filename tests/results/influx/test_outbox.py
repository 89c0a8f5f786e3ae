"""The outbox: what waits, in batches; and lines that were refused, with their reasons."""

from __future__ import annotations

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.influx import outbox
from results.influx.commands import OutboxUsageError, add_commands
from results.store import FILE_NAME, Store, StoreError
from tests.results.records import record
from tests.results.stores import TRIALS, restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from results.record import Record

NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        opened.start_run("run-1", "a command")
        yield opened


def two_lines(whole: Record, _: Path | None) -> list[str]:
    return [f"{whole.trial_id} first", f"{whole.trial_id} second"]


def fill(store: Store, *trials: str) -> None:
    for trial in trials:
        store.add(record(trial))


def trials(store: Store) -> list[str]:
    return [row[0] for row in store.read("SELECT trial_id FROM outbox ORDER BY seq")]


def batch(store: Store, after: int = 0, most: int = 100) -> outbox.Batch:
    return outbox.next_batch(store, two_lines, None, after=after, most=most)


def park(store: Store, *lines: str, reason: str = "no good") -> None:
    outbox.settle(store, [], [("t", line, reason) for line in lines])


# ---- records ----


def test_a_stored_record_waits(store: Store) -> None:
    assert outbox.count(store) == (0, None, 0, 0)
    assert not outbox.has_more_than(store, 0)
    fill(store, "a", "b", "a")
    assert outbox.count(store) == (2, NOW, 0, 0)
    assert outbox.has_more_than(store, 1)
    assert not outbox.has_more_than(store, 2)


def test_what_waits_is_told_by_run(store: Store) -> None:
    store.start_run("run-2", "another")
    fill(store, "a", "b")
    store.add(record("c", "run-2", started_at=datetime(2024, 1, 1, tzinfo=UTC)))
    assert outbox.waiting_runs(store) == [
        ("run-2", 1, datetime(2024, 1, 1, tzinfo=UTC)),
        ("run-1", 2, NOW),
    ]


def test_a_batch_holds_whole_records(store: Store) -> None:
    fill(store, "a", "b", "c")
    first = batch(store, most=5)
    assert (first.trials, first.lines) == (
        ["a", "b"],
        ["a first", "a second", "b first", "b second"],
    )
    assert first.owners == ["a", "a", "b", "b"]
    second = batch(store, first.position, most=5)
    assert second.trials == ["c"]
    assert batch(store, second.position).trials == []
    assert batch(store, most=1).trials == ["a"]  # one at least


def test_a_batch_that_takes_all_reads_no_further(store: Store) -> None:
    fill(store, *(f"{number:03}" for number in range(120)))  # more than are read at once
    assert len(batch(store, most=240).trials) == 120
    assert len(batch(store, most=239).trials) == 119


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(0, 7), max_size=12), most=st.integers(1, 9))
def test_batches_hold_every_line_once_and_in_order(counts: list[int], most: int) -> None:
    def lines_of(whole: Record, _: Path | None) -> list[str]:
        return [f"{whole.trial_id}/{number}" for number in range(counts[int(whole.trial_id)])]

    seen, position = [], 0
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder)) as store:
        store.start_run("run-1", "")
        fill(store, *map(str, range(len(counts))))
        while (part := outbox.next_batch(store, lines_of, None, after=position, most=most)).trials:
            assert len(part.lines) <= most or len(part.trials) == 1
            assert len(part.lines) == len(part.owners)
            seen += part.lines
            position = part.position
            outbox.settle(store, part.trials, [])
        assert outbox.count(store).waiting == 0
    assert seen == [f"{trial}/{n}" for trial, many in enumerate(counts) for n in range(many)]


def test_one_bad_record_holds_back_no_other(store: Store) -> None:
    fill(store, "a", "b", "c", "d")
    with store.transaction() as connection:
        connection.execute("UPDATE records SET body = '{}' WHERE trial_id = 'b'")

    def lines_of(whole: Record, results: Path | None) -> list[str]:
        if whole.trial_id == "c":
            raise ValueError("of no use\nat all")
        return two_lines(whole, results)

    part = outbox.next_batch(store, lines_of, None, after=0, most=100)
    assert part.trials == ["a", "d"]
    assert part.unreadable["b"].startswith("the record of trial b cannot be read")
    assert part.unreadable["c"] == "of no use"
    assert outbox.settle(store, part.trials, []) == 2
    assert trials(store) == ["b", "c"]  # they wait for a tierlab that can read them


def test_a_damaged_store_is_told(store: Store) -> None:
    with store.transaction() as connection:
        connection.execute("DROP TABLE outbox")
    with pytest.raises(StoreError, match="cannot be read"):
        batch(store)


# ---- settled ----


def test_records_leave_and_bad_lines_are_parked(store: Store) -> None:
    fill(store, "a", "b")
    assert outbox.settle(store, ["a"], [("a", "a second", "a type conflict")]) == 1
    assert trials(store) == ["b"]
    (line,) = outbox.parked(store)
    assert line[1:4] == ("a", "a second", "a type conflict")
    assert outbox.count(store) == (1, NOW, 0, 1)


def test_a_record_leaves_once(store: Store) -> None:
    fill(store, "a", "b")
    assert outbox.settle(store, ["a", "b"], []) == 2
    assert outbox.settle(store, ["a", "b"], []) == 0


def test_what_goes_wrong_between_undoes_all(store: Store) -> None:
    fill(store, "a")
    bad: list[tuple[str, str, str]] = [("a", None, "reason")]  # type: ignore[list-item]
    with pytest.raises(StoreError, match="cannot be written"):
        outbox.settle(store, ["a"], bad)
    assert trials(store) == ["a"]


def test_a_new_record_with_the_number_of_an_old_one_stays(store: Store) -> None:
    """Two senders: the slower one must not settle what it never sent."""
    fill(store, "a")
    slow = batch(store)
    outbox.settle(store, batch(store).trials, [])  # the quicker one
    fill(store, "b")
    assert store.read("SELECT seq FROM outbox") == [(1,)]  # SQLite gave the number again
    assert outbox.settle(store, slow.trials, []) == 0
    assert trials(store) == ["b"]


def test_the_same_line_is_parked_once(store: Store) -> None:
    park(store, "line", reason="one")
    park(store, "line", reason="another")
    assert [(line.line, line.reason) for line in outbox.parked(store)] == [("line", "another")]


# ---- single lines ----


def test_a_line_can_wait_for_another_try(store: Store) -> None:
    park(store, "a", "b", "c")
    assert outbox.next_lines(store, 10) == []
    assert outbox.put_back(store, [1, 3]) == 2
    assert outbox.put_back(store, [1]) == 0
    assert outbox.count(store) == (0, None, 2, 1)
    assert outbox.has_more_than(store, 0)
    assert outbox.next_lines(store, 10) == [("t", "a"), ("t", "c")]
    assert outbox.next_lines(store, 1) == [("t", "a")]
    assert outbox.settle_lines(store, ["a"]) == 1
    park(store, "c")  # refused once more
    assert outbox.next_lines(store, 10) == []
    assert outbox.put_back(store) == 2


def test_a_new_line_with_the_number_of_an_old_one_stays(store: Store) -> None:
    park(store, "a")
    outbox.put_back(store)
    slow = [line for _, line in outbox.next_lines(store, 10)]
    outbox.settle_lines(store, slow)  # the quicker one
    park(store, "b")
    assert [line.number for line in outbox.parked(store)] == [1]
    assert outbox.settle_lines(store, slow) == 0
    assert [line.line for line in outbox.parked(store)] == ["b"]


def test_only_refused_lines_are_dropped(store: Store) -> None:
    fill(store, "a")
    park(store, "a", "b", "c")
    outbox.put_back(store, [1])
    assert outbox.unknown_numbers(store, [1, 2, 7]) == [1, 7]
    assert outbox.drop(store, [1, 2]) == 1
    assert outbox.drop(store) == 1
    assert outbox.count(store) == (1, NOW, 1, 0)


# ---- tierlab outbox ----


def tierlab(*words: str, results: Path) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    options = parser.parse_args(["outbox", *words, "--results", str(results)])
    return int(options.func(options))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with two records that wait, and three refused lines."""
    monkeypatch.setenv("COLUMNS", "80")
    with Store.open(tmp_path) as store:
        store.start_run("run-1", "")
        fill(store, "a", "b")
        park(store, "trial,profile=x value=1i 5", "\x1b[2Jtrial \N{RIGHT-TO-LEFT OVERRIDE}", "c")
        park(store, "trial,profile=x value=1i 5", reason="field type conflict\n\x1b]0;title\x07")
    return tmp_path


def test_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tierlab("list", results=folder) == 0
    told = capsys.readouterr().out
    assert "2 records wait, the first since 2025-01-02 03:04 UTC:" in told
    assert "  2 of run run-1 of 2025-01-02 03:04 UTC" in told
    assert "3 lines were refused:" in told
    assert "trial,profile=x value=1i 5" in told
    assert "field type conflict" in told
    assert all(line.isprintable() for line in told.splitlines())


def test_list_is_short_unless_all_is_asked_for(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(folder) as store:
        park(store, *(f"line {number} " + "x" * 500 for number in range(40)))
        for number in range(15):
            store.start_run(f"more-{number}", "")
            store.add(record(f"more-{number}", f"more-{number}"))
    tierlab("list", results=folder)
    told = capsys.readouterr().out
    assert "and of 6 later runs" in told
    assert "and 23 more; all of them: tierlab outbox list --all" in told
    assert "line 39" not in told
    tierlab("list", "--all", results=folder)
    told = capsys.readouterr().out
    assert "line 39" in told
    assert told.count("x") > 40 * 500


def test_list_of_an_empty_outbox(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Store.open(tmp_path).close()
    assert tierlab("list", results=tmp_path) == 0
    assert capsys.readouterr().out == "no record waits\n"


def numbers(folder: Path) -> list[int]:
    with Store.open(folder) as store:
        return [line.number for line in outbox.parked(store) if line.reason]


def test_retry(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tierlab("retry", "2", results=folder) == 0
    assert capsys.readouterr().out == "1 line put back; send them with: tierlab outbox send\n"
    assert numbers(folder) == [1, 3]
    tierlab("list", results=folder)
    assert "1 line waits for another try" in capsys.readouterr().out
    tierlab("retry", results=folder)
    tierlab("retry", results=folder)
    assert capsys.readouterr().out.endswith("0 lines put back\n")
    assert numbers(folder) == []


def test_drop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tierlab("drop", "1", "3", results=folder)
    assert capsys.readouterr().out == "2 lines forgotten\n"
    assert numbers(folder) == [2]
    tierlab("drop", "--yes", results=folder)
    assert capsys.readouterr().out == "1 line forgotten\n"


@pytest.mark.parametrize("words", [["drop"], ["drop", "1", "--yes"], ["drop", "9"], ["retry", "9"]])
def test_nothing_is_done_that_is_not_clear(folder: Path, words: list[str]) -> None:
    with pytest.raises(OutboxUsageError, match="-> `tierlab outbox list` shows them"):
        tierlab(*words, results=folder)
    assert numbers(folder) == [1, 2, 3]


@pytest.mark.parametrize("words", [["list"], ["retry"], ["drop", "--yes"]])
def test_a_folder_without_results(tmp_path: Path, words: Iterable[str]) -> None:
    with pytest.raises(StoreError, match="there are no results here\n  -> run `tierlab run`"):
        tierlab(*words, results=tmp_path)
    assert not (tmp_path / FILE_NAME).exists()


def test_send_without_an_address(folder: Path) -> None:
    with pytest.raises(Exception, match="no InfluxDB is named\n  -> give --influx http://HOST"):
        tierlab("send", results=folder)


def test_a_store_from_before_the_outbox_sends_its_records(tmp_path: Path) -> None:
    restore(tmp_path, 3)
    with Store.open(tmp_path) as store:
        assert batch(store).trials == TRIALS
