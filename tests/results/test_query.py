"""Queries of figures: the same as sorting and filtering in Python, and never a whole scan."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.figures import CellKey, Figures, cell_text, moment, parse_cell
from results.query import cells, count_faults, count_trials, figures, latest_of_cells
from results.record import Record, Verdict
from results.store import Store, StoreError
from tests.results.records import TEXT, record

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 11, 1, tzinfo=UTC)


def trial(
    name: str, minute: int = 0, *, model: str = "gemma-2b", run: str = "run-1", **changes: Any
) -> Record:
    whole = record(name, run, started_at=START + timedelta(minutes=minute), **changes)
    return whole.model_copy(update={"workload": whole.workload.model_copy(update={"model": model})})


def filled(folder: Path, records: Sequence[Record]) -> Store:
    store = Store.open(folder)
    for run in {one.run_id for one in records}:
        store.start_run(run, "")
    for one in records:
        store.add(one)
    return store


def names(store: Store, **wanted: Any) -> list[str]:
    return [found.figures.trial_id for found in figures(store, **wanted)]


def test_newest_first_cell_by_cell(tmp_path: Path) -> None:
    records = [trial("b1", 1, model="b"), trial("a2", 2, model="a"), trial("a3", 3, model="a")]
    with filled(tmp_path, [*records, trial("b0", 0, model="b")]) as store:
        assert names(store) == ["a3", "a2", "b1", "b0"]
        assert names(store, limit=1) == ["a3", "b1"]
        assert [cell.model for cell in cells(store)] == ["a", "b"]
        assert cells(store)[0] == CellKey.of(records[1])


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    other = trial("other", 5, run="run-2")
    workload = other.workload.model_copy(update={"quantisation": "int8", "runtime": "wllama/wasm"})
    device = other.device.model_copy(update={"profile": "phone"})
    other = other.model_copy(update={"workload": workload, "device": device})
    records = [trial("one", 1), trial("bad", 2, verdict=Verdict.INFRA), other]
    with filled(tmp_path, records) as store:
        for wanted in (
            {"run_id": "run-2"},
            {"profile": "phone"},
            {"quantisation": "int8"},
            {"runtime": "wllama/wasm"},
            {"since": START + timedelta(minutes=5)},
            {"since": (START + timedelta(minutes=5)).astimezone(timezone(timedelta(hours=9)))},
        ):
            assert names(store, **wanted) == ["other"], wanted
        assert names(store, model="gemma-2b", of_device=True) == ["one", "other"]
        assert names(store, run_id="run-1", of_device=True, since=START) == ["one"]
        assert names(store, run_id="run-1", since=START + timedelta(minutes=9)) == []
        assert names(store, run_id="none") == []


def test_the_latest_of_each_cell(tmp_path: Path) -> None:
    faults = [trial(f"f{n}", n, model="f", verdict=Verdict.CASCADE) for n in range(3)]
    records = [trial(f"a{n}", n, model="a") for n in range(5)]
    records[4] = records[4].model_copy(update={"verdict": Verdict.INFRA})
    with filled(tmp_path, [*records, *faults]) as store:
        found = [(cell.model, rows) for cell, rows in latest_of_cells(store, 2)]
        assert found == [("a", [Figures.of(records[3]), Figures.of(records[2])])]
        everything = {c.model: len(rows) for c, rows in latest_of_cells(store, of_device=False)}
        assert everything == {"a": 5, "f": 3}
        assert count_trials(store) == 8
        assert count_faults(store) == {"infra": 1, "cascade": 3}


def test_a_store_without_trials(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert cells(store) == []
        assert names(store) == []
        assert list(latest_of_cells(store)) == []
        assert count_faults(store) == {"infra": 0, "cascade": 0}
        assert store.record("any") is None


def test_one_record(tmp_path: Path) -> None:
    with filled(tmp_path, [trial("a"), trial("b")]) as store:
        assert store.record("b") == trial("b")


MINUTES = st.integers(0, 5)
TRIALS = st.lists(
    st.builds(
        trial,
        st.uuids().map(str),
        MINUTES,
        model=st.sampled_from(["a", "b", "\N{LATIN SMALL LETTER E WITH ACUTE}"]),
        run=st.sampled_from(["run-1", "run-2"]),
        verdict=st.sampled_from([Verdict.OK, Verdict.OOM, Verdict.INFRA]),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(
    TRIALS,
    st.none() | MINUTES,
    st.none() | st.integers(0, 4),
    st.booleans(),
    st.sampled_from([None, "run-1"]),
)
def test_as_python_would(
    records: list[Record], since: int | None, limit: int | None, of_device: bool, run: str | None
) -> None:
    begin = None if since is None else START + timedelta(minutes=since)
    expected = []
    for cell in sorted({CellKey.of(one) for one in records}):
        of_cell = [
            one
            for one in records
            if CellKey.of(one) == cell
            and (begin is None or one.started_at >= begin)
            and (run is None or one.run_id == run)
            and not (of_device and one.verdict is Verdict.INFRA)
        ]
        of_cell.sort(key=lambda one: (one.started_at, one.trial_id), reverse=True)
        expected += [(cell, Figures.of(one)) for one in of_cell[:limit]]
    with tempfile.TemporaryDirectory() as folder, filled(Path(folder), records) as store:
        found = figures(store, run_id=run, since=begin, of_device=of_device, limit=limit)
        assert [tuple(one) for one in found] == expected


def test_no_query_reads_everything(tmp_path: Path) -> None:
    with filled(tmp_path, [trial("a")]) as store:
        seen: list[str] = []
        store._connection.set_trace_callback(seen.append)
        list(latest_of_cells(store))
        names(store, since=START, limit=3)
        names(store, run_id="run-1")
        count_faults(store)
        store._connection.set_trace_callback(None)
        assert len(seen) == 7
        for query in seen:
            for *_, step in store.read(f"EXPLAIN QUERY PLAN {query}"):
                assert "TEMP B-TREE FOR ORDER" not in step, query
                assert not step.startswith("SCAN") or step.startswith("SCAN cells"), (step, query)


def test_times_are_texts_in_order() -> None:
    early = datetime(2026, 11, 1, 12, tzinfo=timezone(timedelta(hours=3)))
    late = datetime(2026, 11, 1, 9, 0, 0, 1, tzinfo=UTC)
    assert moment(early) == "2026-11-01T09:00:00+00:00"
    assert moment(early) < moment(late)
    assert moment(late.replace(tzinfo=None)) == moment(late)


KEYS = st.builds(
    CellKey, TEXT, TEXT, st.booleans(), st.booleans(), TEXT, TEXT, TEXT, TEXT, TEXT
)  # fmt: skip


@given(KEYS)
def test_a_key_comes_back(key: CellKey) -> None:
    assert parse_cell(cell_text(key)) == key


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "7", '"ninechars"', '["", "", "", "", "", "", "", "", ""]']
)
def test_a_text_that_is_no_key(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="is no key of a cell"):
        parse_cell(text)
    with filled(tmp_path, [trial("a")]) as store:
        with store.transaction() as connection:
            connection.execute("UPDATE cells SET key = ?", (text,))
        with pytest.raises(StoreError, match="tierlab store check --repair"):
            cells(store)
