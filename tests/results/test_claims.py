"""Claims held against made-up loads: what confirms, what refutes, what says nothing."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from results.claims import (
    Claim,
    Figure,
    Outcome,
    Side,
    Status,
    assess,
    bounds,
    claims,
    figure_of,
    parse_claims,
)
from results.claims_table import claims_table
from results.record import Measurement, MemoryUse, Spread, Verdict
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.record import Record

AT = datetime(2025, 1, 2, tzinfo=UTC)
SPEED = Claim(
    "fast", "int8 is 2 to 4 times as fast", Figure.DECODE, Side("int8"), Side("fp32"), 2, 4, "here"
)
SIZE = replace(SPEED, id="small", text="int8 is smaller", figure=Figure.PEAK, low=0.2, high=0.3)
FILE = replace(SIZE, figure=Figure.FILE)

ENTRY = """
[[claim]]
id = "a"
text = "b"
figure = "file_bytes"
subject = "int8 pruned-50"
baseline = "int8"
ratio = [0.2, 0.3]
source = "c"
"""


def load(quantisation: str, value: float = 1.0, threads: int = 2, **changes: Any) -> Record:
    """A load with `value` tokens a second, `value` GB of peak memory, and `value` GB of file."""
    whole = record()
    assert whole.artifact is not None
    parts: dict[str, Any] = {
        "workload": whole.workload.model_copy(update={"quantisation": quantisation}),
        "conditions": whole.conditions.model_copy(update={"threads": threads}),
        "artifact": whole.artifact.model_copy(update={"total_bytes": int(value * 1e9)}),
        "measurement": Measurement(
            prefill_tokens_per_s=10 * value,
            decode_ms=Spread(n=9, median=1000 / value, p10=1.0, p90=1e6),
            memory=MemoryUse(processes={"renderer": int(value * 1e9), "browser": 10**12}),
            wall_seconds=30.0,
        ),
    }
    return record(**{**parts, **changes})


def held(claim: Claim, subject: Sequence[float], baseline: Sequence[float]) -> Outcome:
    return assess(
        claim, [load("q8_0", v) for v in subject], [load("fp32", v) for v in baseline], AT
    )


class TestOutcome:
    @pytest.mark.parametrize(
        ("subject", "status", "words"),
        [
            ([25, 30, 35], Status.CONFIRMED, "3 times (2.5 to 3.5, n = 3), claimed 2 to 4"),
            ([45, 50, 52], Status.CONFIRMED, "more than is claimed"),
            ([15, 16, 17], Status.REFUTED, "less than is claimed"),
            ([9.9, 10, 10.2], Status.REFUTED, "no effect was seen"),
            ([5, 6, 7], Status.REFUTED, "the other way round"),
            ([15, 25, 30], Status.NOT_MEASURABLE, "the rounds disagree"),
            ([25, 30], Status.NOT_MEASURABLE, "2 rounds; it takes 3"),
        ],
    )
    def test_of_a_speed(self, subject: list[float], status: Status, words: str) -> None:
        outcome = held(SPEED, subject, [10.0] * len(subject))
        assert outcome.status is status, outcome.explanation
        assert words in outcome.explanation

    @pytest.mark.parametrize(
        ("subject", "status", "words"),
        [
            ([2.5, 2.6, 2.9], Status.CONFIRMED, "0.26 times"),
            ([1.0, 1.1, 1.2], Status.CONFIRMED, "more than is claimed"),
            ([5.0, 5.5, 6.0], Status.REFUTED, "less than is claimed"),
            ([9.0, 10.0, 11.0], Status.REFUTED, "no effect was seen"),
            ([12.0, 13.0, 14.0], Status.REFUTED, "the other way round"),
            ([2.0, 2.9, 3.5], Status.NOT_MEASURABLE, "the rounds disagree"),
        ],
    )
    def test_of_a_size_where_less_is_better(
        self, subject: list[float], status: Status, words: str
    ) -> None:
        outcome = held(SIZE, subject, [10.0, 10.0, 10.0])
        assert outcome.status is status, outcome.explanation
        assert words in outcome.explanation

    def test_a_file_needs_one_round(self) -> None:
        assert held(FILE, [2.5], [10.0]).status is Status.CONFIRMED
        assert held(FILE, [4.0], [10.0]).status is Status.REFUTED

    def test_an_effect_inside_the_noise_confirms_nothing(self) -> None:
        """Each round has the effect, and the machine moved both sides by more than it."""
        small = replace(SPEED, low=1.1, high=1.2)
        outcome = held(small, [11.5, 17.0, 23.0], [10.0, 15.0, 20.0])
        assert outcome.ratio is not None
        assert outcome.ratio.low > small.low
        assert outcome.status is Status.NOT_MEASURABLE
        assert "inside the noise" in outcome.explanation

    def test_a_small_difference_inside_the_noise_has_no_direction(self) -> None:
        outcome = held(SPEED, [9.9, 10.1, 10.2], [10.0, 10.2, 10.3])
        assert outcome.ratio is not None
        assert outcome.ratio.high < 1
        assert outcome.status is Status.REFUTED
        assert "no effect was seen" in outcome.explanation

    def test_the_figures_and_what_they_rest_on_are_kept(self) -> None:
        outcome = held(SPEED, [25, 35, 30], [10, 11, 9])
        assert outcome.subject.quantisation == "q8_0"
        assert outcome.subject.figure is not None
        assert outcome.subject.figure.low == pytest.approx(25)
        assert outcome.subject.figure.median == pytest.approx(30)
        assert outcome.baseline.trials == ("trial-1",) * 3
        assert outcome.baseline.threads == (2,)
        assert outcome.ratio is not None
        assert outcome.ratio.median == pytest.approx(35 / 11)
        assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


class TestNoStatement:
    def test_a_side_that_does_not_run(self) -> None:
        oom = load("fp32", verdict=Verdict.OOM, explanation="too large", measurement=None)
        outcome = assess(SPEED, [load("int8")] * 3, [load("fp32"), oom, load("fp32")], AT)
        assert outcome.status is Status.NOT_MEASURABLE
        assert outcome.explanation == "no figure of fp32: oom, too large"
        assert outcome.baseline.verdicts == (Verdict.OK, Verdict.OOM, Verdict.OK)
        assert outcome.ratio is not None
        assert outcome.ratio.n == 2

    def test_other_threads(self) -> None:
        outcome = assess(SPEED, [load("int8", 30)] * 3, [load("fp32", 10, threads=1)] * 3, AT)
        assert outcome.status is Status.NOT_MEASURABLE
        assert "different numbers of threads: 1, 2" in outcome.explanation

    @pytest.mark.parametrize(
        "change",
        [
            {"run_id": "another"},
            {"workload": record().workload.model_copy(update={"output_tokens": 9})},
            {"workload": record().workload.model_copy(update={"runtime": "wllama/wasm"})},
            {"device": record().device.model_copy(update={"profile": "other"})},
            {"conditions": record().conditions.model_copy(update={"runtime_version": "2"})},
        ],
    )
    def test_loads_that_cannot_be_compared(self, change: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not of one device"):
            assess(SPEED, [load("int8")] * 3, [load("fp32", **change)] * 3, AT)

    @pytest.mark.parametrize(("above", "below"), [(0, 0), (1, 0), (0, 1), (2, 3)])
    def test_sides_without_their_counterpart(self, above: int, below: int) -> None:
        with pytest.raises(ValueError, match=f"{above} loads against {below}"):
            assess(SPEED, [load("int8")] * above, [load("fp32")] * below, AT)

    @pytest.mark.parametrize("figure", Figure)
    def test_no_figure_of_what_was_not_measured(self, figure: Figure) -> None:
        assert figure_of(load("int8"), figure)
        assert figure_of(load("int8", verdict=Verdict.CRASH), figure) is None
        assert figure_of(load("int8", measurement=None), figure) is None

    def test_a_speed_that_is_no_number(self) -> None:
        base = load("int8")
        assert base.measurement is not None
        broken = base.measurement.model_copy(
            update={"prefill_tokens_per_s": math.nan, "decode_ms": None}
        )
        for figure in (Figure.DECODE, Figure.PREFILL):
            assert figure_of(base.model_copy(update={"measurement": broken}), figure) is None


class TestBounds:
    def test_of_few_values_they_are_the_range(self) -> None:
        for n in range(1, 9):
            found = bounds([float(value) for value in range(n)])
            assert found is not None
            assert (found.n, found.low, found.high) == (n, 0.0, n - 1.0)
        assert bounds([]) is None

    # Tables of the sign test: order statistics of the 95 % interval of a median.
    @pytest.mark.parametrize(
        ("n", "left_out"), [(9, 1), (11, 1), (12, 2), (15, 3), (20, 5), (30, 9)]
    )
    def test_of_many_values_they_are_those_of_the_sign_test(self, n: int, left_out: int) -> None:
        values = [float(value) for value in range(n)]
        found = bounds([*values[1::2], *values[::2]])
        assert found is not None
        assert (found.low, found.high) == (left_out, n - 1 - left_out)

    @given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=40))
    def test_the_median_is_between(self, values: list[float]) -> None:
        found = bounds(values)
        assert found is not None
        assert min(values) <= found.low <= found.median <= found.high <= max(values)


speeds = st.lists(st.floats(0.1, 100), min_size=3, max_size=12)


@settings(deadline=None)
@given(speeds, st.data())
def test_nothing_is_confirmed_of_two_sides_that_are_the_same(
    values: list[float], data: st.DataObject
) -> None:
    other = data.draw(st.permutations(values))
    assert held(SPEED, values, other).status is not Status.CONFIRMED


@settings(deadline=None)
@given(speeds, st.floats(0.01, 100))
def test_a_unit_of_measure_changes_nothing(values: list[float], factor: float) -> None:
    baseline = [value / 2.5 for value in values]
    plain = held(SPEED, values, baseline)
    scaled = held(SPEED, [factor * v for v in values], [factor * v for v in baseline])
    assert plain.status is scaled.status


class TestData:
    def test_the_claims_of_the_project(self) -> None:
        found = {claim.id: claim for claim in claims()}
        assert found["int8-memory-fp32"].promise == pytest.approx(0.3)
        assert found["int8-decode-fp32"].promise == pytest.approx(2)
        assert found["pruned-50-decode"].low <= 1.42 <= found["pruned-50-decode"].high
        assert found["pruned-20-decode"].low <= 1.15 <= found["pruned-20-decode"].high
        assert found["pruned-50-decode"].subject == Side("int8", "pruned-50")
        for claim in found.values():
            assert claim.source
            assert str(claim.subject) != str(claim.baseline)

    def test_an_entry(self) -> None:
        (claim,) = parse_claims(ENTRY)
        assert claim == Claim(
            "a", "b", Figure.FILE, Side("int8", "pruned-50"), Side("int8"), 0.2, 0.3, "c"
        )

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("", ""), "no claims"),
            ((ENTRY, ENTRY + ENTRY), "one id"),
            (('source = "c"', ""), "needs exactly"),
            (('source = "c"', 'source = ""'), "are texts"),
            (('source = "c"', 'source = "c"\nmore = 1'), "needs exactly"),
            (("[0.2, 0.3]", "[0.3, 0.2]"), "no range"),
            (("[0.2, 0.3]", "[0.0, 0.2]"), "no range"),
            (("[0.2, 0.3]", "[0.2, inf]"), "no range"),
            (("file_bytes", "colour"), "colour"),
        ],
    )
    def test_what_is_no_list_of_claims(self, change: tuple[str, str], words: str) -> None:
        text = ENTRY.replace(*change) if change[0] else ""
        with pytest.raises(ValueError, match=words):
            parse_claims(text)


def test_the_table_shows_both_figures_and_fits_a_terminal() -> None:
    hostile = replace(SPEED, text="bad\x1b[31m [bold]claim[/]")
    console = Console(width=80, record=True, color_system=None)
    with console.capture() as captured:
        console.print(
            claims_table(
                [
                    held(SPEED, [25, 30, 35], [10, 10, 10]),
                    held(replace(SIZE, id="x"), [5, 5, 5], [10, 10, 10]),
                    held(hostile, [25, 30], [10, 10]),
                ]
            )
        )
    text = captured.get()
    assert "q8_0 30 tok/s (25 to 35)" in text
    assert "fp32 10 GB" in text
    for word in ("confirmed", "refuted", "not measurable", "it takes 3", "[bold]claim[/]"):
        assert word in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 80
