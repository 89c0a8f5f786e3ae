from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from results.figures import CellKey
from results.record import Verdict
from results.site.trends import trends, version_key
from tests.results.site.examples import MACHINES, MODELS, RUNTIMES, publish, trial, trials

if TYPE_CHECKING:
    from pathlib import Path


def test_the_oldest_version_comes_first_whatever_was_tried_first(tmp_path: Path) -> None:
    tried = [trial(number, MACHINES[0], MODELS[0], RUNTIMES[0], number % 3) for number in range(9)]
    _, store = publish(tried, tmp_path)
    with store:
        found = trends(store)[CellKey.of(tried[0])]
    assert [figure.browser_version for figure in found] == [
        "9.0.1",
        "138.0.7204.92",
        "140.0.7339.80",
    ]
    speeds = sorted(
        measured.decode_tokens_per_s or 0.0
        for record in tried
        if record.conditions.browser_version == "9.0.1" and (measured := record.measurement)
    )
    assert [found[0].low, found[0].median, found[0].high] == speeds
    assert (found[0].ran, found[0].trials) == (3, 3)


def test_cells_with_one_version_have_no_trend(tmp_path: Path) -> None:
    _, store = publish(trials(), tmp_path)
    with store:
        assert {key.model for key in trends(store)} == {"gemma-3-270m"}


def test_of_many_versions_the_newest_are_kept(tmp_path: Path) -> None:
    first = trial(1, MACHINES[0], MODELS[0], RUNTIMES[0])
    tried = [
        trial(number, MACHINES[0], MODELS[0], RUNTIMES[0]).model_copy(
            update={
                "conditions": first.conditions.model_copy(update={"browser_version": f"{number}.0"})
            }
        )
        for number in range(1, 31)
    ]
    _, store = publish(tried, tmp_path)
    with store:
        versions = [v.browser_version for v in trends(store)[CellKey.of(tried[0])]]
    assert versions == [f"{number}.0" for number in range(7, 31)]


def test_only_what_is_alike_is_compared_and_failures_are_counted(tmp_path: Path) -> None:
    tried = [trial(number, MACHINES[0], MODELS[0], RUNTIMES[0], number % 2) for number in range(6)]
    newest = max(tried, key=lambda record: record.started_at)
    other = tried[0].workload.model_copy(update={"output_tokens": 9})
    tried[0] = tried[0].model_copy(update={"workload": other})
    tried[2] = tried[2].model_copy(update={"verdict": Verdict.CRASH})
    _, store = publish(tried, tmp_path)
    with store:
        old, new = trends(store)[CellKey.of(newest)]
    assert (old.ran, old.trials) == (1, 2)
    assert (new.ran, new.trials) == (3, 3)


@given(st.lists(st.tuples(*[st.integers(0, 10**6)] * 3), min_size=2, max_size=6))
def test_versions_sort_by_their_numbers(versions: list[tuple[int, ...]]) -> None:
    texts = [".".join(map(str, version)) for version in versions]
    assert sorted(texts, key=version_key) == [
        ".".join(map(str, version)) for version in sorted(versions)
    ]


@given(st.lists(st.text(max_size=20), max_size=5))
def test_versions_may_be_anything(versions: list[str]) -> None:
    assert len(sorted(versions, key=version_key)) == len(versions)
