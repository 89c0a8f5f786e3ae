"""What is compared with what, and which version is the first bad one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from results.regressions.comparable import Dimension
from results.regressions.comparison import Change
from results.regressions.search import (
    Regressions,
    Trend,
    UnknownBaselineError,
    find_regressions,
)
from tests.results.trials import CELL, failed, figures, in_cell, several

if TYPE_CHECKING:
    from results.figures import Figures


def build(version: str, factor: float = 1.0, n: int = 6, **changes: Any) -> list[Figures]:
    """The trials of one browser build; each build is tested a day after the one before."""
    return several(n, factor=factor, **{"browser_version": version, **changes})


def along(*factors: float, n: int = 6) -> list[list[Figures]]:
    """Builds 1.0, 2.0, ... that are so many times as slow as the first."""
    return [build(f"{number}.0", factor, n, day=number) for number, factor in enumerate(factors, 1)]


def by_browser(*groups: list[Figures], **options: Any) -> Regressions:
    return find_regressions(in_cell(*groups), Dimension.BROWSER, **options)


def trend(found: Regressions, figure: str = "load_seconds", series: int = 0) -> Trend:
    return next(t for t in found.series[series].trends if t.figure == figure)


# ---- the first bad version ----


def test_the_first_bad_build_has_a_name() -> None:
    found = trend(by_browser(*along(1.0, 1.0, 1.2, 1.2)))
    assert found.change is Change.REGRESSED
    assert (found.baseline, found.last_good, found.first_bad) == ("1.0", "2.0", "3.0")
    assert found.undecided == ()
    assert [(step.version, step.against) for step in found.steps] == [
        ("2.0", "1.0"), ("3.0", "1.0"), ("4.0", "1.0"),
    ]  # fmt: skip
    assert found.telling.version == "3.0"


def test_every_figure_is_judged_alone() -> None:
    found = by_browser(*along(1.0, 1.2))
    assert {t.figure: t.change for t in found.series[0].trends} == {
        "verdict": Change.SAME,
        "load_seconds": Change.REGRESSED,
        "first_token_seconds": Change.REGRESSED,
        "prefill_tokens_per_s": Change.REGRESSED,
        "decode_tokens_per_s": Change.REGRESSED,
        "peak_bytes": Change.SAME,
    }
    assert found.count(Change.REGRESSED) == 4


def test_what_was_mended_is_no_regression() -> None:
    found = trend(by_browser(*along(1.0, 1.3, 1.0)))
    assert (found.change, found.first_bad, found.last_good) == (Change.SAME, None, "3.0")


def test_what_comes_back_begins_anew() -> None:
    found = trend(by_browser(*along(1.0, 1.3, 1.0, 1.3, 1.4)))
    assert (found.last_good, found.first_bad) == ("3.0", "4.0")


def test_an_improvement_raises_the_bar() -> None:
    """Back to the speed of the first build is worse than what there was in between."""
    found = trend(by_browser(*along(1.0, 0.7, 0.7, 1.0)))
    assert (found.change, found.last_good, found.first_bad) == (Change.REGRESSED, "3.0", "4.0")
    assert found.telling.against == "2.0"


def test_an_improvement_that_lasts() -> None:
    found = trend(by_browser(*along(1.0, 0.7, 0.7)))
    assert (found.change, found.first_bad) == (Change.IMPROVED, None)
    assert (found.telling.version, found.telling.against) == ("2.0", "1.0")


def test_many_small_steps_are_one_large_one() -> None:
    """Each build is 3 % slower than the one before, which is of no interest by itself."""
    found = trend(by_browser(*along(1.0, 1.03, 1.061, 1.093)))
    assert (found.change, found.last_good, found.first_bad) == (Change.REGRESSED, "2.0", "3.0")


def test_builds_between_that_do_not_decide_it_are_named() -> None:
    builds = along(1.0, 1.0, 1.2, 1.2)
    builds.insert(2, build("2.5", 1.2, n=2, day=2))
    builds.insert(3, [failed(i, browser_version="2.7", day=2) for i in range(4)])
    found = by_browser(*builds)
    assert trend(found).undecided == ("2.5", "2.7")
    assert (trend(found).last_good, trend(found).first_bad) == ("2.0", "3.0")
    assert trend(found, "verdict").change is Change.SAME


def test_the_newest_build_with_too_few_trials_decides_nothing() -> None:
    builds = [*along(1.0, 1.0), build("3.0", 1.2, n=2, day=3)]
    found = trend(by_browser(*builds))
    assert (found.change, found.last_good, found.first_bad) == (Change.UNDECIDED, "2.0", None)
    assert found.undecided == ()


def test_a_regression_is_not_forgotten_for_a_build_with_too_few_trials() -> None:
    builds = [*along(1.0, 1.2), build("3.0", 1.0, n=1, day=3)]
    found = trend(by_browser(*builds))
    assert (found.change, found.first_bad) == (Change.REGRESSED, "2.0")


def test_builds_that_were_tested_elsewhere_only_are_named() -> None:
    other = replace(CELL, model="gemma-3-270m")
    foreign = replace(CELL, model="gemma-2-2b-it")
    trials = [
        *in_cell(*along(1.0, 1.2)),
        *in_cell(build("1.5"), build("1.10"), build("0.9"), cell=other),
        *in_cell(build("1.7", browser="msedge"), cell=foreign),
    ]
    found = find_regressions(trials, Dimension.BROWSER)
    assert trend(found).untested == ("1.5", "1.10")
    assert found.alone == 1


def test_builds_are_in_the_order_of_their_numbers() -> None:
    found = by_browser(
        build("156.0.10", 1.3, day=1), build("156.0.9", day=2), build("156.0.8", day=3)
    )
    assert [group.version for group in found.series[0].groups] == [
        "156.0.8", "156.0.9", "156.0.10",
    ]  # fmt: skip
    assert trend(found).first_bad == "156.0.10"


def test_deaths_are_a_regression_of_the_verdict() -> None:
    found = by_browser(build("1.0"), [failed(i, browser_version="2.0", day=2) for i in range(6)])
    assert trend(found, "verdict").first_bad == "2.0"
    assert [t.figure for t in found.series[0].trends] == ["verdict"]


def test_what_died_at_first_is_compared_from_where_it_lived() -> None:
    dead = [failed(i, browser_version="1.0") for i in range(6)]
    found = by_browser(dead, build("2.0", day=2), build("3.0", 1.2, day=3))
    assert trend(found, "verdict").change is Change.IMPROVED
    assert (trend(found).baseline, trend(found).first_bad) == ("2.0", "3.0")


# ---- the baseline ----


def test_what_is_older_than_the_baseline_is_left_out() -> None:
    builds = along(1.0, 1.2, 1.2)
    found = by_browser(*builds, baseline="2.0")
    assert (trend(found).baseline, trend(found).change) == ("2.0", Change.SAME)
    assert [group.version for group in found.series[0].groups] == ["2.0", "3.0"]
    assert by_browser(*builds, baseline="3.0").alone == 1


def test_a_baseline_that_nothing_has() -> None:
    with pytest.raises(UnknownBaselineError) as raised:
        by_browser(*along(1.0, 1.2), baseline="1")
    assert raised.value.known == ["1.0", "2.0"]
    with pytest.raises(UnknownBaselineError):
        find_regressions([], Dimension.BROWSER, baseline="1")


# ---- what is comparable ----


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt_tokens": 64},
        {"output_tokens": 32},
        {"runtime_version": "9"},
        {"harness_version": "9"},
        {"artifact_key": "another"},
        {"browser": "msedge"},
    ],
)
def test_all_else_must_be_equal(changes: dict[str, Any]) -> None:
    found = by_browser(build("1.0"), build("2.0", 1.5, day=2, **changes))
    assert found.series == ()
    assert found.alone == 2


@pytest.mark.parametrize("field", ["profile", "model", "quantisation", "variant", "source"])
def test_another_cell_is_another_matter(field: str) -> None:
    changes: dict[str, Any] = {field: "another"}
    other = replace(CELL, **changes)
    trials = [*in_cell(build("1.0")), *in_cell(build("2.0", day=2), cell=other)]
    assert find_regressions(trials, Dimension.BROWSER).series == ()


@pytest.mark.parametrize(
    ("by", "column"),
    [
        (Dimension.RUNTIME, "runtime_version"),
        (Dimension.HARNESS, "harness_version"),
        (Dimension.ARTIFACT, "artifact_key"),
    ],
)
def test_the_other_dimensions(by: Dimension, column: str) -> None:
    one: dict[str, Any] = {column: "1"}
    other: dict[str, Any] = {column: "2"}
    old, new = build("1.0", **one), build("1.0", 1.2, day=2, **other)
    trials = in_cell(old, new)
    found = find_regressions(trials, by)
    assert (trend(found).last_good, trend(found).first_bad) == ("1", "2")
    assert find_regressions(trials, Dimension.BROWSER).series == ()


def test_artifacts_are_in_the_order_of_time() -> None:
    trials = in_cell(
        several(6, artifact_key="zebra"), several(6, day=2, factor=1.2, artifact_key="ant")
    )
    assert trend(find_regressions(trials, Dimension.ARTIFACT)).first_bad == "ant"


def test_what_is_refused_before_a_file_is_made_is_refused_of_every_file() -> None:
    refused = [
        failed(i, verdict="unsupported", browser_version="2.0", artifact_key=None, day=2)
        for i in range(6)
    ]
    found = by_browser(build("1.0"), build("1.0", artifact_key="other"), refused)
    assert [one.held["artifact"] for one in found.series] == ["a", "other"]
    for number in range(2):
        assert trend(found, "verdict", number).first_bad == "2.0"
    assert find_regressions(in_cell(refused), Dimension.ARTIFACT).series == ()


def test_a_browser_that_loses_the_gpu_is_not_overlooked() -> None:
    """Its trials are in another cell of the matrix."""
    gpu = replace(CELL, runtime="mediapipe/webgpu")
    trials = [
        *in_cell(build("1.0", adapter="a GPU"), cell=gpu),
        *in_cell(
            build("2.0", 9.0, day=2, adapter="SwiftShader"),
            cell=replace(gpu, software_adapter=True),
        ),
    ]
    found = trend(find_regressions(trials, Dimension.BROWSER))
    assert found.first_bad == "2.0"
    assert found.changed == ("adapter: a GPU, then SwiftShader",)


def test_what_else_changed_is_told() -> None:
    found = by_browser(
        build("1.0", threads=4, host="old"), build("2.0", 1.2, day=2, threads=1, host="new")
    )
    assert trend(found).changed == ("threads: 4, then 1", "host: old, then new")


def test_an_engine_outside_of_a_browser_does_not_depend_on_one() -> None:
    native = replace(CELL, runtime="llama.cpp/native")
    trials = in_cell(
        build("1.0", runtime_version="1"),
        build("2.0", 1.2, day=2, runtime_version="2"),
        cell=native,
    )
    assert find_regressions(trials, Dimension.BROWSER).series == ()
    assert trend(find_regressions(trials, Dimension.RUNTIME)).first_bad == "2"


def test_trials_while_the_host_was_busy_are_marked() -> None:
    found = by_browser(build("1.0", host_at_rest=0), build("2.0", day=2, host_at_rest=None))
    assert [group.not_at_rest for group in found.series[0].groups] == [6, 0]


# ---- runs ----


def run(name: str, day: int, factor: float = 1.0, **changes: Any) -> list[Figures]:
    return several(6, day=day, factor=factor, run_id=name, **changes)


def by_run(*groups: list[Figures], **options: Any) -> Regressions:
    return find_regressions(in_cell(*groups), Dimension.RUN, **options)


def test_runs_are_compared_whatever_changed_between_them() -> None:
    found = trend(
        by_run(
            run("b", 1, browser_version="1.0", runtime_version="1"),
            run("a", 2, 1.2, browser_version="2.0", runtime_version="2"),
        )
    )
    assert (found.last_good, found.first_bad) == ("b", "a")
    assert found.changed == ("browser version: 1.0, then 2.0", "runtime version: 1, then 2")


def test_a_run_is_found_by_the_beginning_of_its_id() -> None:
    groups = (run("abc", 1), run("def", 2, 1.2), run("fed", 3, 1.2))
    assert trend(by_run(*groups, baseline="de")).change is Change.SAME
    with pytest.raises(UnknownBaselineError):
        by_run(*groups, baseline="x")
    with pytest.raises(UnknownBaselineError):
        by_run(*groups, baseline="")


def test_a_run_that_tested_two_builds_is_two() -> None:
    mixed = [
        *run("b", 2, browser_version="1.0"),
        *run("b", 3, 1.2, browser_version="2.0"),
    ]
    found = by_run(run("a", 1, browser_version="1.0"), mixed)
    names = [group.version for group in found.series[0].groups]
    assert names == ["a", "b (1.0, 1.2, 0.1)", "b (2.0, 1.2, 0.1)"]
    assert trend(found).first_bad == names[2]


def test_no_trials_are_no_series() -> None:
    found = find_regressions([], Dimension.RUN)
    assert (found.series, found.alone) == ((), 0)


def test_one_load_of_each_decides_nothing() -> None:
    found = by_browser([figures(browser_version="1")], [figures(browser_version="2", factor=9)])
    assert {t.change for t in found.series[0].trends} == {Change.UNDECIDED}
