"""The record of a trial: its parts, and its way through JSON."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from results.record import Evidence, Kind, Measurement, MemoryUse, Phase, Record, Source, Spread
from tests.results.records import RECORDS, record


@given(RECORDS)
def test_a_record_comes_back_as_it_was(whole: Record) -> None:
    text = whole.model_dump_json()
    assert Record.model_validate_json(text) == whole


@given(RECORDS)
def test_a_record_is_json_that_others_can_read(whole: Record) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    read = json.loads(whole.model_dump_json(), parse_constant=refuse)
    assert read["schema_version"] == 1


def test_a_figure_that_is_not_a_number_can_be_read_back() -> None:
    measurement = Measurement(
        memory=MemoryUse(processes={}),
        wall_seconds=1,
        token_ms=(1.0, math.nan),
        cpu_seconds=math.inf,
    )
    text = record(measurement=measurement).model_dump_json()
    read = Record.model_validate_json(text).measurement
    assert read is not None
    assert read.cpu_seconds == math.inf
    assert math.isnan(read.token_ms[1])


def test_unknown_keys_and_versions_are_refused() -> None:
    data = record().model_dump(mode="json")
    with pytest.raises(ValidationError, match="schema_version"):
        Record.model_validate({**data, "schema_version": 2})
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Record.model_validate({**data, "colour": "red"})


def test_half_a_character_of_a_page_is_replaced_where_it_arrives() -> None:
    detail: dict[str, JsonValue] = {"message": "a\ud800b", "more": [{"\udfff": "\ud83d\ude00"}, 1]}
    item = Evidence(at_seconds=0, source=Source.PAGE, kind=Kind.PHASE, detail=detail)
    assert item.detail == {"message": "a?b", "more": [{"?": "??"}, 1]}
    assert Evidence.model_validate_json(item.model_dump_json()) == item
    assert Phase(name="\ud800", wall_seconds=1).name == "?"


def test_evidence_reads_as_a_line() -> None:
    item = Evidence(at_seconds=1.5, source=Source.CDP, kind=Kind.PHASE, detail={"a": 1, "b": "x"})
    assert str(item) == "   1.500 s  cdp: phase (a=1, b=x)"
    assert item.text("b") == "x"
    assert item.text("c") == ""


def test_the_spread_of_nothing_of_one_and_of_many() -> None:
    assert Spread.of([]) is None
    assert Spread.of([2.0]) == Spread(n=1, median=2.0, p10=2.0, p90=2.0)
    assert Spread.of(list(range(11))) == Spread(n=11, median=5, p10=1, p90=9)


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_a_spread_is_in_order(values: list[float]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    slack = 1e-9 * max(values)
    assert min(values) - slack <= spread.p10 <= spread.median + slack
    assert spread.median - slack <= spread.p90 <= max(values) + slack


@pytest.mark.parametrize(
    ("median", "rate"), [(125.0, 8.0), (0.0, None), (math.nan, None), (math.inf, None)]
)
def test_the_decode_rate(median: float, rate: float | None) -> None:
    spread = Spread(n=1, median=median, p10=median, p90=median)
    measured = Measurement(memory=MemoryUse(processes={}), wall_seconds=1, decode_ms=spread)
    assert measured.decode_tokens_per_s == rate


def test_the_decode_rate_is_that_of_the_mean_step() -> None:
    """A user waits for the stalls too, which the median of the steps does not see."""
    spread = Spread(n=6, median=50.0, p10=50.0, p90=300.0)
    steps = (900.0, 70.0, 800.0, 700.0, 50.0, 50.0, 50.0, 450.0)
    measured = Measurement(
        memory=MemoryUse(processes={}), wall_seconds=1, decode_ms=spread, token_ms=steps
    )
    assert measured.mean_decode_ms == pytest.approx(150)
    assert measured.decode_tokens_per_s == pytest.approx(1000 / 150)
    # Fewer steps than it is of were kept, or none that can be added up: the median stands for it.
    for kept in (steps[-2:], (math.nan,) * 6, (0.0,) * 6):
        few = measured.model_copy(update={"token_ms": kept})
        assert few.decode_tokens_per_s == pytest.approx(20)
    # The last token came with the one before it.
    late = measured.model_copy(update={"token_ms": (*steps[:-1], 0.4)})
    assert late.mean_decode_ms == pytest.approx(50)


def test_the_engine_is_the_renderer_and_the_gpu_process() -> None:
    assert MemoryUse(processes={"renderer": 5, "gpu": 2, "browser": 9}).engine_bytes == 7
    assert MemoryUse(processes={}).engine_bytes == 0
