"""The memory curve beside a record: read whatever it is, thinned without losing a peak."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.memory_curve import KEPT, OTHER, PROCESSES, Sample, curve_of, read_curve, thin
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

NAME = "trials/t/memory-curve.json"


def kept(folder: Path, text: str) -> Path:
    path = folder / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def item(at: Any, group: Any = None, **processes: Any) -> dict[str, Any]:
    return {"at_seconds": at, "processes": processes, "group_bytes": group}


def test_a_curve_is_read_by_time(tmp_path: Path) -> None:
    kept(tmp_path, json.dumps([item(2, 9, renderer=5), item(1.5, None, gpu=2, renderer=1)]))
    found = curve_of(record(files={"memory-curve.json": NAME}), tmp_path)
    assert found == [Sample(1.5, {"gpu": 2, "renderer": 1}), Sample(2.0, {"renderer": 5}, 9)]
    assert [sample.model_bytes for sample in found] == [3, 5]


def test_a_record_without_a_curve_has_none(tmp_path: Path) -> None:
    assert curve_of(record(), tmp_path) == []
    assert curve_of(record(files={"memory-curve.json": NAME}), tmp_path) == []


@pytest.mark.parametrize(
    "text", ["", "[", "7", '{"at_seconds": 1}', "[" * 100_000, "\0", "[" + "9" * 5000 + "]"]
)
def test_a_damaged_file_is_no_curve(tmp_path: Path, text: str) -> None:
    assert read_curve(kept(tmp_path, text), inside=tmp_path) == []


@pytest.mark.parametrize(
    "damaged",
    [
        3,
        item("1", renderer=1),
        item(at=True, renderer=1),
        item(-1, renderer=1),
        item(1e9, renderer=1),
        item(10**400, renderer=1),
        item(float("nan"), renderer=1),
        {"at_seconds": 1, "processes": [1]},
    ],
)
def test_what_is_no_sample_is_left_out(tmp_path: Path, damaged: object) -> None:
    path = kept(tmp_path, json.dumps([damaged, item(1, renderer=7)]))
    assert read_curve(path, inside=tmp_path) == [Sample(1.0, {"renderer": 7})]


def test_sizes_that_are_none_are_left_out_and_unknown_kinds_are_one(tmp_path: Path) -> None:
    odd = item(1, group=True, renderer=-1, gpu=1.5, browser="1", utility=2**80, plugin=4, helper=6)
    assert read_curve(kept(tmp_path, json.dumps([odd])), inside=tmp_path) == [
        Sample(1.0, {OTHER: 6})
    ]


def test_a_name_cannot_lead_out_of_the_results_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    outside.write_text(json.dumps([item(1, renderer=7)]))
    inside = tmp_path / "results"
    inside.mkdir()
    (inside / "link.json").symlink_to(outside)
    for name in ("../outside.json", str(outside), "link.json", "."):
        assert curve_of(record(files={"memory-curve.json": name}), inside) == []


SAMPLES = st.lists(
    st.builds(
        Sample,
        at_seconds=st.floats(0, 1e6),
        processes=st.dictionaries(
            st.sampled_from([*PROCESSES, OTHER]), st.integers(0, 2**40), max_size=3
        ),
        group_bytes=st.none() | st.integers(0, 2**40),
    ),
    max_size=40,
    unique_by=lambda sample: sample.at_seconds,
).map(lambda samples: sorted(samples, key=lambda sample: sample.at_seconds))


@settings(max_examples=100)
@given(SAMPLES, st.integers(11, 30))
def test_thinning_keeps_the_ends_and_every_peak(samples: list[Sample], count: int) -> None:
    found = thin(samples, count)
    assert len(found) <= count
    assert found == [sample for sample in samples if sample in found]
    assert found[:1] == samples[:1]
    assert found[-1:] == samples[-1:]
    for kind in (*PROCESSES, OTHER):
        assert peak(found, kind) == peak(samples, kind)
    assert max((s.model_bytes for s in found), default=0) == max(
        (s.model_bytes for s in samples), default=0
    )
    assert max((s.group_bytes or 0 for s in found), default=0) == max(
        (s.group_bytes or 0 for s in samples), default=0
    )


def peak(samples: list[Sample], kind: str) -> int:
    return max((sample.processes.get(kind, 0) for sample in samples), default=0)


def test_a_spike_of_one_sample_in_thousands_stays() -> None:
    samples = [Sample(float(n), {"renderer": 10}) for n in range(5000)]
    samples[3333] = Sample(3333.0, {"renderer": 10, "browser": 99}, 50)
    found = thin(samples)
    assert len(found) <= KEPT
    assert samples[3333] in found
    gaps = [after.at_seconds - before.at_seconds for before, after in pairwise(found)]
    assert max(gaps) < 2 * 5000 / 150
