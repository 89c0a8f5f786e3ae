"""Stores of every released schema, as their own code wrote them, opened by today's."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from results.figures import CellKey, Figures
from results.migrations import MIGRATIONS
from results.query import count_faults, figures
from results.record import Verdict
from results.store import BUSY_MILLISECONDS, Store, StoreError
from tests.results.stores import RUN, TRIALS, restore
from tests.results.stores import VERSIONS as RELEASED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSIONS = pytest.mark.parametrize("version", RELEASED)


def schema(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    yield from connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name")


@VERSIONS
def test_everything_is_there_after_it(tmp_path: Path, version: int) -> None:
    path = restore(tmp_path, version)
    with closing(sqlite3.connect(path)) as connection:
        before = dict(connection.execute("SELECT trial_id, body FROM records"))
    with Store.open(tmp_path) as store:
        records = store.records()
        assert [one.trial_id for one in records] == TRIALS
        assert [one.verdict for one in records] == [
            Verdict.OK, Verdict.OK, Verdict.OOM, Verdict.INFRA,
        ]  # fmt: skip
        assert records[2].device.emulated
        measured = records[1].measurement
        assert measured is not None
        assert measured.gpu is not None
        assert measured.gpu.peak_bytes == 1_588_989_424
        # What was written stays as it was written.
        assert dict(store.read("SELECT trial_id, body FROM records")) == before

        found = {one.figures.trial_id: one for one in figures(store)}
        assert len(found) == len(records)
        for one in records:
            assert found[one.trial_id] == (CellKey.of(one), Figures.of(one))
        assert found[TRIALS[0]].figures.decode_tokens_per_s == pytest.approx(2.950, abs=1e-3)
        assert count_faults(store) == {"infra": 1, "cascade": 0}
        assert store.read("SELECT trial_id FROM outbox ORDER BY seq") == [(t,) for t in TRIALS]

        assert store.latest_run() == RUN
        claims, responses = store.outcomes(run_id=RUN), store.responses(run_id=RUN)
        assert len(claims) == len(responses) == (1 if version >= 2 else 0)
        backends = [one.backend for one in store.capabilities()]
        assert backends == (["webgl", "native"] if version >= 3 else [])

        assert store.read("PRAGMA foreign_key_check") == []
        assert store.read("PRAGMA integrity_check") == [("ok",)]


@VERSIONS
def test_the_schema_is_that_of_a_new_store(tmp_path: Path, version: int) -> None:
    (tmp_path / "new").mkdir()
    restore(tmp_path, version)
    with Store.open(tmp_path) as old, Store.open(tmp_path / "new") as new:
        assert list(schema(old._connection)) == list(schema(new._connection))
        assert old.read("PRAGMA user_version") == [(len(MIGRATIONS),)]


@VERSIONS
def test_it_takes_new_records(tmp_path: Path, version: int) -> None:
    restore(tmp_path, version)
    with Store.open(tmp_path) as store:
        again = store.records()[0].model_copy(update={"trial_id": "new"})
        store.add(again)
        assert store.record("new") == again
        assert store.read("SELECT trial_id FROM outbox ORDER BY seq DESC LIMIT 1") == [("new",)]


def test_a_record_that_cannot_be_read_stays_and_has_no_figures(tmp_path: Path) -> None:
    path = restore(tmp_path, 3)
    connection = sqlite3.connect(path)
    body = json.dumps({"schema_version": 9})
    connection.execute("UPDATE records SET body = ? WHERE trial_id = ?", (body, TRIALS[0]))
    connection.commit()
    connection.close()
    with Store.open(tmp_path) as store:
        assert [one.figures.trial_id for one in figures(store)].count(TRIALS[0]) == 0
        assert len(list(figures(store))) == 3
        assert store.read("SELECT count(*) FROM records") == [(4,)]
        with pytest.raises(StoreError, match=TRIALS[0]):
            store.records()


def test_a_step_that_fails_is_undone(tmp_path: Path) -> None:
    path = restore(tmp_path, 3)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE outbox (in_the_way)")
    before = list(connection.iterdump())
    connection.close()
    with pytest.raises(StoreError, match="table outbox already exists"):
        Store.open(tmp_path)
    connection = sqlite3.connect(path)
    assert list(connection.iterdump()) == before
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_that_it_takes_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    restore(tmp_path, 3)
    monkeypatch.setattr("results.migrations._MANY", 4)
    with Store.open(tmp_path) as store:
        assert store.read("PRAGMA busy_timeout") == [(BUSY_MILLISECONDS,)]
    assert caplog.messages == ["a store of before: making the figures of 4 records, once"]
    Store.open(tmp_path).close()
    assert len(caplog.messages) == 1
