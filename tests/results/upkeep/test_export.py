"""An export holds what the store holds, in columns that say what they are."""

from __future__ import annotations

import json
import tempfile
from dataclasses import astuple
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.figures import CellKey, Figures
from results.query import figures
from results.record import Record, Verdict
from results.store import Store, StoreError
from results.upkeep.columns import COLUMNS_OF_EXPORT, columns_table
from results.upkeep.export import export_parquet
from tests.results.records import RECORDS, record

NAMES = [column.name for column in COLUMNS_OF_EXPORT]


def filled(folder: Path, records: list[Record]) -> Store:
    store = Store.open(folder)
    for one in records:
        store.start_run(one.run_id, "")
        store.add(one)
    return store


def expected(one: Record) -> dict[str, Any]:
    row = dict(zip(NAMES, (*astuple(CellKey.of(one)), *Figures.of(one)), strict=True))
    row["started_at"] = datetime.fromisoformat(row["started_at"])
    row["host_at_rest"] = one.conditions.host_at_rest
    return row


@settings(max_examples=25, deadline=None)
@given(st.lists(RECORDS, max_size=4, unique_by=lambda one: one.trial_id), st.integers(1, 5))
def test_all_values_come_back(records: list[Record], rows_a_group: int) -> None:
    with tempfile.TemporaryDirectory() as name, filled(Path(name), records) as store:
        file = Path(name) / "all.parquet"
        written = export_parquet(
            store, figures(store), file, records=True, rows_a_group=rows_a_group
        )
        assert written == len(records)
        rows = {row["trial_id"]: row for row in pq.read_table(file).to_pylist()}
        for one in records:
            row = rows.pop(one.trial_id)
            assert Record.model_validate_json(row.pop("record")) == one
            assert row == expected(one)
        assert not rows


def test_columns_say_what_they_are(tmp_path: Path) -> None:
    with filled(tmp_path, [record()]) as store:
        export_parquet(store, figures(store), tmp_path / "a.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.names == NAMES
    assert schema.field("started_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("limited").type == pa.bool_()
    assert schema.field("threads").type == pa.int64()
    assert schema.field("threads").nullable
    assert not schema.field("verdict").nullable
    described = schema.field("predicted_peak_bytes_low").metadata[b"description"]
    assert described.startswith(b"`peak_bytes`: lower bound")


def test_the_docs_list_the_same_columns() -> None:
    docs = Path(__file__).parent.parent.parent.parent / "docs" / "store.md"
    assert columns_table() in docs.read_text()


def test_it_is_streamed_in_groups(tmp_path: Path) -> None:
    told: list[int] = []
    with filled(tmp_path, [record(f"t{n}") for n in range(7)]) as store:
        file = tmp_path / "a.parquet"
        export_parquet(store, figures(store), file, rows_a_group=3, progress=told.append)
    assert told == [3, 6, 7]
    assert pq.ParquetFile(file).num_row_groups == 3


def test_a_store_without_trials_is_a_table_without_rows(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert export_parquet(store, figures(store), tmp_path / "a.parquet") == 0
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


@pytest.mark.parametrize("rest", [True, False, None])
def test_flags_are_true_or_false(tmp_path: Path, rest: bool | None) -> None:
    conditions = record().conditions.model_copy(update={"host_at_rest": rest})
    with filled(tmp_path, [record("a", conditions=conditions)]) as store:
        export_parquet(store, figures(store), tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table["host_at_rest"].to_pylist() == [rest]
    assert table["limited"].to_pylist() == [False]


def test_only_what_is_chosen(tmp_path: Path) -> None:
    with filled(tmp_path, [record("a"), record("b", verdict=Verdict.INFRA)]) as store:
        export_parquet(store, figures(store, of_device=True), tmp_path / "a.parquet")
    assert pq.read_table(tmp_path / "a.parquet")["trial_id"].to_pylist() == ["a"]


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    file = tmp_path / "out" / "a.parquet"
    file.parent.mkdir()
    file.write_text("the old one")
    with filled(tmp_path, [record()]) as store, pytest.raises(KeyboardInterrupt):
        export_parquet(store, figures(store), file, progress=interrupted)
    assert file.read_text() == "the old one"
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "none" / "a.parquet"
    with filled(tmp_path, [record()]) as store, pytest.raises(StoreError, match=r"a\.parquet: "):
        export_parquet(store, figures(store), file)


def test_a_body_is_kept_as_it_is(tmp_path: Path) -> None:
    with filled(tmp_path, [record("a", probe={"π": [1, None]})]) as store:
        export_parquet(store, figures(store), tmp_path / "a.parquet", records=True)
    (body,) = pq.read_table(tmp_path / "a.parquet")["record"].to_pylist()
    assert json.loads(body)["probe"] == {"π": [1, None]}
