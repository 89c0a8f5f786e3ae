from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import StoreError
from results.evaluation.evaluate import foretell_all
from results.evaluation.folds import Split
from results.features.history import history
from results.features.neighbours import Known, correction, distance, neighbours, vectors
from results.features.rows import read_rows, rows, write_rows
from results.observation import Observation, Quantity
from tests.results.worlds import DEVICES, World

if TYPE_CHECKING:
    from pathlib import Path

WORLD = World(repeats=1).observations()
AGENT = "Mozilla/5.0 (Linux; Android 16; SM-S928B) AppleWebKit/537.36 Chrome/156.0.8078.108"
POISON = {
    "host": "annas-laptop.example.com",
    "device": "R58N12ABCDE",
    "processor": "/home/anna/cpuinfo AMD EPYC 9B14 serial 0123456789abcdef",
    "browser": AGENT,
    "adapter": "anna@example.com C:\\Users\\anna",
    "day": "2026-01-31T12:34:56+01:00",
    "recipe": "/home/anna/engine",
    "model": "Anna's own model.gguf",
    "quantisation": "/home/anna",
    "too_much": "no file /home/anna/model.gguf",
    "trial_id": "20260131-123456-annas-laptop",
    "vector": {"dot": 3.0, "/home/anna": 1.0, "chain": math.nan},
}
SECRETS = ("anna", "Anna", "R58N", "0123456789", "12:34", "123456", "Mozilla", "SM-S928B", "/home")


def poisoned(**changes: Any) -> Observation:
    return replace(WORLD[0], **changes)


@pytest.mark.parametrize("fields", [*([name] for name in POISON), list(POISON)], ids=str)
def test_nothing_personal_is_given_away(tmp_path: Path, fields: list[str]) -> None:
    path = tmp_path / "features.jsonl"
    bad = poisoned(**{name: POISON[name] for name in fields})
    assert write_rows(path, rows([bad, replace(WORLD[1], device=bad.device)])) == 2
    text = path.read_text()
    for secret in SECRETS:
        assert secret not in text


@given(st.text(max_size=30))
def test_whatever_a_device_is_called_it_can_be_read_back(name: str) -> None:
    first, second = rows([poisoned(device=name), poisoned(device=f"{name}-2")])
    assert first.device != second.device
    assert json.loads(first.model_dump_json())["device"] == first.device


def test_what_is_no_secret_is_kept() -> None:
    one = rows([poisoned(processor="Intel(R) Xeon(R) Processor @ 2.10GHz", device="desktop-2g")])[0]
    assert one.device == "desktop-2g"
    assert one.processor == "Intel(R) Xeon(R) Processor @ 2.10GHz"
    assert one.browser == "chromium 156"
    assert one.adapter == "vendor architecture"
    assert one.day == "2026-01-01"
    assert one.vector.keys() == {"dot", "chain", "stream"}
    assert one.measured == WORLD[0].measured


def test_trials_that_are_not_trusted_are_not_kept() -> None:
    assert rows([poisoned(trusted=False)]) == []


def test_rows_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "features.jsonl"
    given_rows = rows(WORLD, {WORLD[0].trial_id: {Quantity.DECODE: 0.5}})
    write_rows(path, given_rows)
    assert read_rows(path) == given_rows
    assert given_rows[0].expected == {Quantity.DECODE: 0.5}


def test_a_line_that_is_no_row_is_named(tmp_path: Path) -> None:
    path = tmp_path / "features.jsonl"
    write_rows(path, rows(WORLD[:1]))
    path.write_text(path.read_text() + '{"version": 2}\n')
    with pytest.raises(StoreError, match="line 2 is no row of features"):
        read_rows(path)
    with pytest.raises(StoreError, match="cannot be read"):
        read_rows(tmp_path / "nothing.jsonl")


VECTOR = st.dictionaries(st.sampled_from("abcdef"), st.floats(-50, 50), max_size=6)


@given(VECTOR, VECTOR)
def test_distance_is_the_same_both_ways(one: dict[str, float], other: dict[str, float]) -> None:
    assert distance(one, other) == distance(other, one)
    if len(one) >= 2:
        assert distance(one, one) == 0


def test_a_device_twice_as_fast_is_one_away() -> None:
    assert distance({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 3.0, "c": 9.0}) == pytest.approx(1)
    assert distance({"a": 1.0}, {"a": 1.0}) is None


def test_the_nearest_come_first() -> None:
    database = vectors((o.device, o.vector) for o in WORLD)
    found = neighbours(database[DEVICES[3].name], database, 3)
    assert next(one.device for one in found) == DEVICES[3].name
    assert [one.distance for one in found] == sorted(one.distance for one in found)
    assert [one.weight for one in found] == sorted((one.weight for one in found), reverse=True)
    assert found[0].weight == 1
    assert neighbours({}, database) == []


def test_a_vector_is_the_median_of_a_devices_reports() -> None:
    found = vectors([("x", {"a": 1.0}), ("x", {"a": 5.0, "b": 2.0}), ("x", {"a": 2.0})])
    assert found == {"x": {"a": 2.0, "b": 2.0}}


def known(ratio: float, device: str = "x", quantity: Quantity = Quantity.DECODE) -> Known:
    return Known(device, "engine", quantity, ratio)


def test_history_is_drawn_towards_no_correction() -> None:
    weights = {"x": 1.0}
    one = correction([known(2.0)], weights, "engine", Quantity.DECODE)
    many = correction([known(2.0)] * 50, weights, "engine", Quantity.DECODE)
    assert 1 < one < many < 2
    assert many == pytest.approx(2, rel=0.05)
    assert correction([known(2.0)], weights, "engine", Quantity.DECODE, prior=0) == pytest.approx(2)


def test_only_the_same_engine_quantity_and_neighbours_count() -> None:
    seen = [known(2.0, "y"), known(2.0, quantity=Quantity.LOAD)]
    assert correction(seen, {"x": 1.0}, "engine", Quantity.DECODE) == 1
    assert correction([known(2.0)], {"x": 1.0}, "other", Quantity.DECODE) == 1


def test_other_models_on_a_device_that_is_unlike_others_help() -> None:
    odd = tuple(replace(d, bad=1 + 0.3 * (n % 4)) for n, d in enumerate(DEVICES))
    found = history(foretell_all(World(devices=odd, repeats=1).observations()))
    for one in found:
        if one.split is Split.MODEL and one.quantity is Quantity.DECODE:
            assert one.median_with < 0.7 * one.median
            assert one.n > 0


def test_where_there_is_nothing_to_learn_history_does_no_harm() -> None:
    for one in history(foretell_all(World().observations())):
        assert one.median_with < one.median + 0.02
