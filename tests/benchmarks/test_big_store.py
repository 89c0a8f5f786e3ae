"""The made-up store is one that the rest of the project would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.big_store import fill
from results.figures import CellKey, Figures
from results.query import cells, count_faults, count_trials, figures
from results.store import Store
from results.upkeep.integrity import Report, check

if TYPE_CHECKING:
    from pathlib import Path


def test_bodies_and_figures_agree(tmp_path: Path) -> None:
    told: list[int] = []
    fill(tmp_path, 600, per_cell=20, progress=told.append)
    assert told == list(range(30, 601, 30))
    with Store.open(tmp_path) as store:
        assert count_trials(store) == 600
        assert 0 < count_faults(store)["infra"] < 30
        assert len(cells(store)) == 30
        stored = {found.figures.trial_id: found for found in figures(store)}
        for record in store.records():
            assert stored[record.trial_id] == (CellKey.of(record), Figures.of(record))
        waiting = store.read("SELECT trial_id FROM outbox ORDER BY seq")
        assert waiting == store.read("SELECT trial_id FROM records ORDER BY started_at")
        assert check(store) == Report(records=600)
        with Store.open(tmp_path / "new") as new:
            schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
            assert store.read(schema) == new.read(schema)


def test_the_same_seed_gives_the_same_store(tmp_path: Path) -> None:
    for name in ("one", "other"):
        fill(tmp_path / name, 40, per_cell=4)
    with Store.open(tmp_path / "one") as one, Store.open(tmp_path / "other") as other:
        assert one.records() == other.records()


def test_a_store_is_not_filled_twice(tmp_path: Path) -> None:
    fill(tmp_path, 4, per_cell=2)
    with pytest.raises(FileExistsError):
        fill(tmp_path, 4, per_cell=2)
