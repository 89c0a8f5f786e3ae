"""One figure of two groups: when it is worse, better, the same, and when nobody can say."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.figures import METRICS
from results.regressions.comparison import (
    COMPARED,
    LOWER_IS_BETTER,
    MOST,
    Change,
    compare,
    compare_rounds,
    value_of,
)
from tests.results.trials import failed, figures, noisy, several

if TYPE_CHECKING:
    from results.figures import Figures

OPPOSITE = {
    Change.REGRESSED: Change.IMPROVED,
    Change.IMPROVED: Change.REGRESSED,
    Change.SAME: Change.SAME,
    Change.UNDECIDED: Change.UNDECIDED,
}


def trials_with(metric: str, value: float, n: int = 6) -> list[Figures]:
    changes: list[dict[str, Any]] = [{metric: value * (1 + i / 1000)} for i in range(n)]
    return [figures(i, **changes[i]) for i in range(n)]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("larger", [True, False])
def test_which_way_is_worse(metric: str, larger: bool) -> None:
    before, after = trials_with(metric, 10.0), trials_with(metric, 13.0 if larger else 7.0)
    found = compare(metric, before, after)
    worse = larger == (metric in LOWER_IS_BETTER)
    assert found.change is (Change.REGRESSED if worse else Change.IMPROVED)
    assert found.ratio == pytest.approx(1.3 if larger else 0.7, rel=0.01)
    assert (found.baseline_n, found.n) == (6, 6)
    assert found.explanation == ""


def test_lower_is_better_of_times_and_memory_only() -> None:
    assert set(METRICS) - LOWER_IS_BETTER == {"prefill_tokens_per_s", "decode_tokens_per_s"}


@pytest.mark.parametrize(
    ("factor", "tolerance", "change"),
    [
        (1.0, 0.05, Change.SAME),
        (1.04, 0.05, Change.SAME),
        (1.05, 0.05, Change.UNDECIDED),  # the interval reaches over the edge
        (1.06, 0.05, Change.REGRESSED),
        (1.06, 0.10, Change.SAME),
        (0.94, 0.05, Change.IMPROVED),
        (1.015, 0.001, Change.REGRESSED),
    ],
)
def test_the_tolerance_is_an_edge(factor: float, tolerance: float, change: Change) -> None:
    found = compare("load_seconds", several(8), several(8, factor=factor), tolerance)
    assert found.change is change
    if change is Change.UNDECIDED:
        assert found.explanation == "the interval straddles the tolerance"


@pytest.mark.parametrize(
    ("before", "after", "explanation"),
    [
        (3, 3, "1 more load of each needed"),
        (1, 1, "3 more loads of each needed"),
        (2, 5, "1 more load of each needed"),
    ],
)
def test_too_few_trials(before: int, after: int, explanation: str) -> None:
    found = compare("load_seconds", several(before), several(after, factor=9.0))
    assert (found.change, found.explanation) == (Change.UNDECIDED, explanation)
    assert found.ratio == pytest.approx(9.0, rel=0.01)  # seen, but nothing to build on
    assert (found.low, found.high, found.confidence) == (None, None, None)


def test_noise_hides_what_is_smaller_than_it() -> None:
    source = random.Random(5)  # noqa: S311 - repeatable
    found = [
        compare("decode_tokens_per_s", noisy(source, 6, 0.3), noisy(source, 6, 0.3, 1.1)).change
        for _ in range(100)
    ]
    assert found.count(Change.UNDECIDED) > 85
    assert found.count(Change.SAME) == 0  # too noisy to say that nothing is there
    assert found.count(Change.IMPROVED) < 3


def test_false_alarms_are_rare() -> None:
    """Of trials that differ in nothing: once in 40 times without a tolerance, and less with it."""
    source = random.Random(6)  # noqa: S311 - repeatable
    changes = [
        compare("load_seconds", noisy(source, 6, 0.1), noisy(source, 6, 0.1)).change
        for _ in range(400)
    ]
    assert changes.count(Change.REGRESSED) <= 400 / 40


@pytest.mark.parametrize("value", [0.0, -1.0, None])
def test_what_was_not_measured_has_no_value(value: float | None) -> None:
    assert value_of(figures()._replace(load_seconds=value), "load_seconds") is None


def test_only_loads_that_ended_well_have_figures() -> None:
    """One that died had read the file already: its load time is no figure of a good load."""
    died = failed(verdict="crash", load_seconds=1.0)
    assert value_of(died, "load_seconds") is None
    found = compare("load_seconds", several(6), [died] * 6)
    assert (found.change, found.n) == (Change.UNDECIDED, 0)
    assert found.explanation == "no load gave this figure"


def test_of_many_trials_the_newest_are_taken() -> None:
    fast, slow = several(MOST), several(MOST, factor=2.0)
    found = compare("load_seconds", [*fast, *slow], [*fast, *slow])
    assert (found.baseline_n, found.n) == (MOST, MOST)
    assert found.change is Change.SAME
    assert compare("verdict", fast, [*fast, *[failed()] * MOST]).change is Change.SAME


# ---- verdicts ----


@pytest.mark.parametrize(
    ("before", "after", "change", "explanation"),
    [
        ("oooo", "xxxx", Change.REGRESSED, "4 ok, then 4 oom"),
        ("xxxx", "oooo", Change.IMPROVED, "4 oom, then 4 ok"),
        ("oooooo", "oooooo", Change.SAME, "6 ok, then 6 ok"),
        ("xxxx", "xxxx", Change.SAME, "4 oom, then 4 oom"),
        ("ooo", "xxx", Change.UNDECIDED, "3 ok, then 3 oom; 1 more load of each needed"),
        ("o", "o", Change.UNDECIDED, "1 ok, then 1 ok; 3 more loads of each needed"),
        (
            "oooooo",
            "ooooxx",
            Change.UNDECIDED,
            "6 ok, then 4 ok and 2 oom; as much comes by chance with p = 0.45",
        ),
        ("", "o", Change.UNDECIDED, "there are no trials"),
    ],
)
def test_verdicts(before: str, after: str, change: Change, explanation: str) -> None:
    baseline, sample = [
        [figures(i) if mark == "o" else failed(i) for i, mark in enumerate(marks)]
        for marks in (before, after)
    ]
    found = compare("verdict", baseline, sample)
    assert (found.change, found.explanation) == (change, explanation)
    assert found.ratio is None
    assert (found.baseline_n, found.n) == (len(before), len(after))


def test_another_way_to_fail_is_no_change() -> None:
    found = compare("verdict", [failed()] * 5, [failed(verdict="crash")] * 5)
    assert (found.change, found.explanation) == (Change.SAME, "5 oom, then 5 crash")


# ---- rounds ----


def test_rounds_whose_conditions_drift_apart() -> None:
    """Each round is a third slower than the one before: as two groups they would say nothing."""
    paces = [1.3**number for number in range(6)]
    rounds = [(figures(factor=pace), figures(factor=1.2 * pace)) for pace in paces]
    found = compare_rounds("decode_tokens_per_s", rounds)
    assert found.change is Change.REGRESSED
    assert found.ratio == pytest.approx(1 / 1.2)
    apart = compare("decode_tokens_per_s", [a for a, _ in rounds], [b for _, b in rounds])
    assert apart.change is Change.UNDECIDED


def test_a_round_without_one_of_the_figures_is_left_out() -> None:
    rounds = [(figures(), figures(factor=1.2))] * 6 + [(figures(), failed())]
    assert compare_rounds("load_seconds", rounds).n == 6
    verdicts = compare_rounds("verdict", rounds)
    assert (verdicts.n, verdicts.change) == (7, Change.UNDECIDED)


@pytest.mark.parametrize(
    ("n", "explanation"), [(5, "1 more round needed"), (2, "4 more rounds needed")]
)
def test_too_few_rounds(n: int, explanation: str) -> None:
    found = compare_rounds("load_seconds", [(figures(), figures(factor=2.0))] * n)
    assert (found.change, found.explanation) == (Change.UNDECIDED, explanation)


def test_no_round_at_all() -> None:
    for figure in COMPARED:
        assert compare_rounds(figure, []).change is Change.UNDECIDED


@pytest.mark.parametrize(
    ("factor", "change"), [(0.951, Change.IMPROVED), (1 / 0.951, Change.REGRESSED)]
)
def test_the_tolerance_is_as_wide_both_ways(factor: float, change: Change) -> None:
    """A 1.05th less is 4.8 % less: 4.9 % is more than that."""
    rounds = [(figures(), figures(factor=factor))] * 6
    assert compare_rounds("load_seconds", rounds).change is change


@given(
    st.lists(st.floats(0.5, 2.0), min_size=1, max_size=9),
    st.lists(st.floats(0.5, 2.0), min_size=1, max_size=9),
    st.sampled_from(METRICS),
)
def test_the_other_way_round_the_change_is_the_opposite(
    one: list[float], other: list[float], metric: str
) -> None:
    # A tolerance that no ratio of short numbers meets exactly: there, rounding would decide.
    edge = 0.0512345
    before, after = ([figures(factor=factor) for factor in side] for side in (one, other))
    found, turned = compare(metric, before, after, edge), compare(metric, after, before, edge)
    assert turned.change is OPPOSITE[found.change]
    rounds = list(zip(before, after, strict=False))
    found = compare_rounds(metric, rounds, edge)
    turned = compare_rounds(metric, [(b, a) for a, b in rounds], edge)
    assert turned.change is OPPOSITE[found.change]
