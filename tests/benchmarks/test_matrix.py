"""The benchmark of the matrix measures a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.big_store import fill
from benchmarks.matrix import measure, row

if TYPE_CHECKING:
    from pathlib import Path


def test_a_small_store(tmp_path: Path) -> None:
    fill(tmp_path, 60, per_cell=20)
    times = measure(tmp_path, 60, rounds=2)
    assert times.cells == 3
    assert len(times.build) == len(times.write) == len(times.together) == 2
    assert times.whole > 0
    assert row(times)[:2] == ["60", "3"]
