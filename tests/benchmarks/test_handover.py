"""The benchmark of the handover packs real records into bundles that a controller takes."""

from __future__ import annotations

import itertools
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.handover import HEADS, RUN, Spent, bundle, records, table
from harness.fleet.delivery import receive
from results.store import Store

if TYPE_CHECKING:
    from pathlib import Path


def test_every_record_is_real_and_one_of_its_own() -> None:
    ids = {record.trial_id for record in itertools.islice(records(), 300)}
    assert len(ids) == 300  # more than the file has


def test_a_bundle_arrives(tmp_path: Path) -> None:
    source = records()
    files = [bundle(source, count, tmp_path / str(count)) for count in (1, 3)]
    with closing(Store.open(tmp_path / "controller")) as store:
        _, clean = receive(store, files)
        assert clean
        assert len(store.records(run_id=RUN)) == 4


def test_a_row_a_way() -> None:
    rows = table({"one": [Spent(2.0, 3.0), Spent(4.0, 5.0)], "x, 100 records": [Spent(1.0, 1.0)]})
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows.splitlines()]
    assert cells[0] == list(HEADS)
    assert cells[2] == ["one", "3.00", "2.00", "4.00", "4.00", "3.00", "2"]
    assert cells[3][5] == "0.0100"
