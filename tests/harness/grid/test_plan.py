"""Plans: what a file of groups becomes, and in which order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.grid.plan import (
    Cell,
    GridPlan,
    GridTrial,
    alternate,
    check_name,
    expand,
    load_plan,
    only,
    remaining,
    slowness,
)
from harness.models import Workload
from harness.profiles import load_profiles

if TYPE_CHECKING:
    from collections.abc import Sequence

SHIPPED = Path(__file__).parents[3] / "benchmarks" / "grid" / "lab.toml"
PROFILES = load_profiles()
DEVICES = ("desktop", "lab-1core", "lab-2core", "lab-half", "pixel7")
PRIORITIES = 3


def group(**changes: Any) -> dict[str, Any]:
    return {
        "devices": ["lab-1core"],
        "models": ["gemma-3-270m"],
        "quantisations": ["q8_0"],
        "runtimes": ["wllama/wasm"],
        "seconds": 10.0,
        **changes,
    }


def plan(*groups: dict[str, Any]) -> GridPlan:
    return GridPlan.model_validate({"name": "a-grid", "groups": groups})


def cell(device: str, number: int = 0) -> Cell:
    return Cell(device, Workload("gemma-3-270m", "q8_0", "wllama/wasm", 16, number + 1))


def subset(values: Sequence[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


@st.composite
def plans(draw: st.DrawFn) -> GridPlan:
    """Groups that share no cell: each asks for another number of tokens."""
    groups = [
        group(
            devices=draw(subset(DEVICES)),
            models=draw(subset(["gemma-3-270m", "qwen2.5-0.5b", "gemma-2b"])),
            quantisations=draw(subset(["q8_0", "q4_0"])),
            runtimes=draw(subset(["wllama/wasm", "llama.cpp/native"])),
            repeats=draw(st.integers(1, 4)),
            priority=draw(st.integers(1, PRIORITIES)),
            output_tokens=number + 8,
        )
        for number in range(draw(st.integers(1, 4)))
    ]
    return plan(*groups)


@settings(deadline=None)
@given(plans())
def test_every_repeat_of_every_cell_is_planned_once(grid: GridPlan) -> None:
    trials = expand(grid, PROFILES)
    assert max(Counter((t.cell, t.repeat) for t in trials).values()) == 1
    wanted: Counter[tuple[int, str, str]] = Counter()
    for part in grid.groups:
        for device in part.devices:
            for model in part.models:
                asked = len(part.quantisations) * len(part.runtimes) * part.repeats
                wanted[part.output_tokens, device, model] += asked
    found = Counter(
        (t.cell.workload.output_tokens, t.cell.device, t.cell.workload.model) for t in trials
    )
    assert found == wanted
    for one in {t.cell for t in trials}:
        repeats = [t.repeat for t in trials if t.cell == one]
        assert repeats == list(range(len(repeats)))


@settings(deadline=None)
@given(plans())
def test_the_order_is_the_same_each_time_and_by_priority(grid: GridPlan) -> None:
    trials = expand(grid, PROFILES)
    assert trials == expand(grid, PROFILES)
    priorities = [trial.priority for trial in trials]
    assert priorities == sorted(priorities)


@settings(deadline=None)
@given(plans())
def test_between_two_repeats_of_a_cell_all_others_with_so_many_repeats_are_run(
    grid: GridPlan,
) -> None:
    trials = expand(grid, PROFILES)
    place = {(t.cell, t.repeat): number for number, t in enumerate(trials)}
    for trial in trials:
        before = place.get((trial.cell, trial.repeat - 1))
        if before is None:
            continue
        others = {
            t.cell for t in trials if (t.priority, t.repeat) == (trial.priority, trial.repeat)
        } - {trial.cell}
        between = {t.cell for t in trials[before + 1 : place[trial.cell, trial.repeat]]}
        assert others <= between


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30)), min_size=1, unique=True))
def test_neighbours_are_of_different_devices_where_that_can_be(
    pairs: list[tuple[str, int]],
) -> None:
    cells = [cell(device, number) for device, number in pairs]
    order = alternate(cells)
    assert Counter(order) == Counter(cells)
    alike = sum(one.device == other.device for one, other in pairwise(order))
    most = max(Counter(c.device for c in cells).values())
    assert alike == max(0, 2 * most - len(cells) - 1)


@settings(deadline=None)
@given(plans(), st.data())
def test_what_is_done_is_not_planned_again(grid: GridPlan, data: st.DataObject) -> None:
    trials = expand(grid, PROFILES)
    finished = data.draw(st.lists(st.sampled_from(trials), unique=True))
    done = Counter(trial.cell for trial in finished)
    left = remaining(trials, done)
    assert len(left) == len(trials) - len(finished)
    assert Counter(t.cell for t in left) + done == Counter(t.cell for t in trials)
    assert [trials.index(t) for t in left] == sorted(trials.index(t) for t in left)
    assert remaining(trials, Counter(t.cell for t in trials)) == []


def test_more_results_than_planned_leave_nothing_to_do() -> None:
    trial = GridTrial(cell("lab-half"), 0, 1, 1.0)
    assert remaining([trial], {trial.cell: 7, cell("desktop"): 3}) == []


def test_a_limit_of_cores_makes_a_trial_take_longer() -> None:
    trials = expand(plan(group(devices=["desktop", "lab-half"])), PROFILES)
    seconds = {t.cell.device: t.seconds for t in trials}
    assert seconds["desktop"] == 10.0
    assert seconds["lab-half"] == pytest.approx(10 * slowness(PROFILES["lab-half"]))
    assert 2 < slowness(PROFILES["lab-half"]) < 4


def test_names_of_weights_become_the_engines_own() -> None:
    (trial,) = expand(plan(group(quantisations=["int4"], models=["gemma-2b"])), PROFILES)
    assert trial.cell.workload.quantisation == "q4_k"


def test_a_cell_belongs_to_one_group() -> None:
    with pytest.raises(UserError, match="in group 1 and in group 2"):
        expand(plan(group(), group(devices=["lab-*"])), PROFILES)
    with pytest.raises(UserError, match="twice in group 1"):
        expand(plan(group(models=["gemma-2b", "GEMMA_2B"])), PROFILES)


def test_only_some_devices() -> None:
    trials = expand(plan(group(devices=["lab-1core", "lab-half"])), PROFILES)
    assert {t.cell.device for t in only(trials, ["lab-half"])} == {"lab-half"}
    assert only(trials, []) == trials
    with pytest.raises(UserError, match="'desktop' is not in the plan"):
        only(trials, ["desktop"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("name = 'x'", "groups: is required", id="no groups"),
        pytest.param("name = '../x'\ngroups = []", "name: string should match", id="a bad name"),
        pytest.param("[[groups]]\nrepeat = 1", "groups.0.repeat: unknown key", id="a typing error"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        load_plan(path)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("models", "gema-2b"), ("runtimes", "wlama/wasm"), ("quantisations", "q9")],
)
def test_unknown_names_are_told_with_their_group(tmp_path: Path, key: str, value: str) -> None:
    lines = [f"{k} = {v}" for k, v in group(**{key: [value]}).items()]
    path = tmp_path / "plan.toml"
    path.write_text("\n".join(["name = 'x'", "[[groups]]", *lines]))
    with pytest.raises(UserError, match=f"group 1: unknown .* '{value}'"):
        load_plan(path)


def test_names_of_grids() -> None:
    assert check_name("lab-2.1_x") == "lab-2.1_x"
    for name in ("", "../x", "a b", "x" * 65):
        with pytest.raises(UserError, match="cannot be a grid's name"):
            check_name(name)


def test_the_shipped_plan_is_large_enough() -> None:
    """What the validation of the probe needs: see docs/lab-matrix.md."""
    trials = expand(load_plan(SHIPPED), PROFILES)
    cells = {t.cell for t in trials}
    assert len(trials) >= 200
    assert len({c.device for c in cells}) >= 10
    assert len({c.workload.model for c in cells}) >= 5
    assert len({c.workload.runtime for c in cells}) >= 4
    fast = [
        c
        for c in cells
        if (c.workload.model, c.workload.quantisation, c.device, c.workload.runtime)
        == ("gemma-3-270m", "q8_0", "lab-2core", "wllama/wasm")
    ]
    assert [sum(t.cell == c for t in trials) for c in fast] == [3]
