"""What a probe costs beside full loads: the sums, without a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.probe_cost import Cost, cost_table, loads, ratio_table, read_records
from results.record import Verdict
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

COST = Cost(
    wall=5.0,
    total=3.0,
    settle=0.5,
    measure=1.2,
    sent=100_000,
    compressed=25_000,
    peak=400_000_000,
    above_empty=150_000_000,
)


def test_good_loads_are_set_beside_the_probe_of_their_class(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    records = [record("good"), record("dead", verdict=Verdict.OOM)]
    path.write_text("".join(f"{one.model_dump_json()}\n" for one in records))
    (load,) = loads(read_records(path))
    assert (load.device, load.backend, load.seconds, load.loaded) == ("desktop", "wasm", 30.0, 1)
    assert load.peak == 4_500_000_000
    table = ratio_table({"desktop": [COST], "lab-half": [COST]}, [load], megabits=50)
    assert len(table.splitlines()) == 3  # a class without loads has no row
    cells = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert cells[:3] == ["desktop", "1", "30.0"]
    assert cells[5] == "10.0"


def test_a_row_a_class() -> None:
    table = cost_table({"lab-half": [COST, COST], "lab-gpu-soft-half": [COST]})
    _, _, half, gpu = table.splitlines()
    assert "3.00 (3.00 to 3.00)" in half
    assert "| webgpu | 5.00 | 3.00 | 0.500 | 1.20 | 100 | 25.0 | 400 | 150 | 1 |" in gpu
