"""What a store knows of a grid, and the records that are kept with the code."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from harness.grid.history import (
    BESIDE_SECONDS,
    MOST_EVIDENCE,
    cell_of,
    compact,
    done,
    durations,
    estimated,
    json_lines,
)
from harness.grid.plan import GridTrial
from results.record import Evidence, Kind, Record, Source, Verdict
from tests.results.records import RECORDS, record


def test_faults_of_the_lab_are_no_results() -> None:
    records = [record(str(n), verdict=v) for n, v in enumerate(Verdict)]
    cell = cell_of(records[0])
    assert done(records) == {cell: len(Verdict) - 2}
    assert done([record(verdict=Verdict.INFRA), record(verdict=Verdict.CASCADE)]) == {}


def test_a_history_says_how_long_trials_take() -> None:
    records = [record(), record(verdict=Verdict.INFRA), record(measurement=None)]
    cell = cell_of(records[0])
    assert durations(records) == {cell: BESIDE_SECONDS + 15.0}  # of 30 and 0 seconds
    known, new = GridTrial(cell, 0, 1, 5.0), GridTrial(replace(cell, device="x"), 0, 1, 5.0)
    assert estimated([known, new], durations(records)) == [
        replace(known, seconds=BESIDE_SECONDS + 15.0),
        new,
    ]


def test_a_kept_record_names_no_host_and_says_what_happened() -> None:
    chatter = [Evidence(at_seconds=n, source=Source.STDERR, kind=Kind.PROCESS_EXIT) for n in (1, 2)]
    kill = Evidence(
        at_seconds=3,
        source=Source.CGROUP,
        kind=Kind.OOM_KILL,
        detail={"line": "x" * 5000, "table": [1, 2], "count": 1},
    )
    whole = record(evidence=(*chatter, kill), files={"log": "trials/1/log"})
    kept = compact(whole)
    assert kept.files == {}
    assert kept.device.host == "lab"
    assert kept.conditions.facts == {}
    (item,) = kept.evidence
    assert item.kind is Kind.OOM_KILL
    assert item.detail == {"line": "x" * 300, "count": 1}


@given(RECORDS)
def test_what_is_learned_from_stays_as_it_is(whole: Record) -> None:
    kept = compact(whole)
    assert len(kept.evidence) <= MOST_EVIDENCE
    for part in ("workload", "artifact", "probe", "prediction", "measurement", "verdict", "tiers"):
        assert getattr(kept, part) == getattr(whole, part)


@given(st.permutations(range(4)))
def test_lines_are_records_in_the_order_of_time(order: list[int]) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    records = [record(f"t{n}", started_at=start + timedelta(hours=n)) for n in range(4)]
    lines = list(json_lines(records[n] for n in order))
    assert lines == list(json_lines(records))
    assert [Record.model_validate(json.loads(line)).trial_id for line in lines] == [
        "t0", "t1", "t2", "t3",
    ]  # fmt: skip
    assert all("\n" not in line for line in lines)
