from __future__ import annotations

from dataclasses import replace

import pytest

from results.evaluation.bounds import bounds, broken, percent
from results.evaluation.cases import PROBE
from results.evaluation.evaluate import By, evaluate, foretell_all
from results.evaluation.figures import EVERYTHING, Errors, Evaluation
from results.evaluation.folds import Split, folds
from results.observation import Quantity
from results.record import Verdict
from tests.results.worlds import DEVICES, ENGINES, MODELS, World

WORLD = World().observations()
FORETOLD = foretell_all(WORLD)
FOUND = evaluate(FORETOLD)


def errors(
    evaluation: Evaluation,
    quantity: Quantity = Quantity.DECODE,
    split: Split = Split.DEVICE,
    rule: str = PROBE,
    group: str = EVERYTHING,
) -> Errors:
    return next(
        e
        for e in evaluation.errors
        if (e.quantity, e.split, e.rule, e.group) == (quantity, split, rule, group)
    )


@pytest.mark.parametrize("split", Split)
def test_a_fold_has_seen_nothing_of_what_it_is_tested_on(split: Split) -> None:
    seen = 0
    for fold in folds(WORLD, split):
        name = {Split.DEVICE: "device", Split.MODEL: "model", Split.GROUP: "cores"}[split]
        out, rest = ({getattr(o, name) for o in part} for part in (fold.tested, fold.training))
        assert out
        assert not out & rest
        assert len(fold.tested) + len(fold.training) == len(WORLD)
        seen += len(fold.tested)
    assert seen == len(WORLD)


@pytest.mark.parametrize("split", Split)
@pytest.mark.parametrize("quantity", Quantity)
def test_errors_are_those_of_the_noise(quantity: Quantity, split: Split) -> None:
    found = errors(FOUND, quantity, split)
    assert found.n == sum(quantity in o.measured for o in WORLD)
    assert found.told == 1
    assert found.median < 0.06
    assert found.p90 < 0.13
    assert abs(found.bias) < 0.03


@pytest.mark.parametrize("quantity", Quantity)
def test_intervals_hold_as_often_as_they_say(quantity: Quantity) -> None:
    coverage = errors(FOUND, quantity).coverage
    assert coverage is not None
    assert 0.85 <= coverage <= 0.97


def test_the_probe_is_better_than_simpler_rules_where_there_is_more_to_know() -> None:
    ours = errors(FOUND).median
    rules = {e.rule for e in FOUND.errors} - {PROBE}
    assert len(rules) == 5
    for rule in rules:
        assert errors(FOUND, rule=rule).median > 5 * ours


def test_a_rule_that_is_the_whole_truth_is_as_good() -> None:
    same = tuple(replace(d, stream=d.dot * d.duty, operation=1e-12) for d in DEVICES)
    world = World(devices=same, models=tuple(m for m in MODELS if m.quantisation == "int4"))
    found = evaluate(foretell_all(world.observations()))
    assert errors(found, rule="bandwidth only").median < 0.05


def test_without_the_duty_factor_throttled_devices_are_wrong() -> None:
    by_term = {
        (a.runtime, a.quantity, a.term): a for a in FOUND.ablations if a.quantity is Quantity.DECODE
    }
    for engine in ENGINES:
        whole = by_term[engine.recipe, Quantity.DECODE, ""]
        assert by_term[engine.recipe, Quantity.DECODE, "duty factor"].p90 > 0.8
        assert by_term[engine.recipe, Quantity.DECODE, "matrix"].median > 5 * whole.median


def test_a_device_unlike_the_others_is_not_covered() -> None:
    odd = tuple(replace(d, bad=3.0) if d is DEVICES[4] else d for d in DEVICES)
    found = evaluate(foretell_all(World(devices=odd).observations()), By.DEVICE)
    assert errors(found, group=DEVICES[4].name).coverage == 0
    assert errors(found, group=DEVICES[4].name).median > 0.5


def test_by_what_errors_are_told_apart() -> None:
    for by, names in (
        (By.DEVICE, {d.name for d in DEVICES}),
        (By.MODEL, {m.name for m in MODELS}),
    ):
        groups = {e.group for e in evaluate(FORETOLD, by).errors}
        assert groups == {EVERYTHING, *names, *(e.recipe for e in ENGINES)}


def test_what_dies_is_foretold() -> None:
    found = next(f for f in FOUND.feasibility if f.rule == PROBE and f.split is Split.DEVICE)
    assert found.oom == sum(o.verdict is Verdict.OOM for o in WORLD) > 0
    assert found.oom_recall == 1
    assert found.oom_precision == 1
    assert found.in_vain == found.wasted_bytes == 0
    assert found.capable_refused == 0
    assert found.missed == found.refused_wrongly == ()


def test_who_always_loads_loads_in_vain() -> None:
    found = next(f for f in FOUND.feasibility if f.rule == "always load")
    died = [o for o in WORLD if o.verdict is Verdict.OOM]
    assert found.oom_recall == 0
    assert found.oom_precision is None
    assert found.in_vain == len(died)
    assert found.wasted_bytes == sum(o.file_bytes for o in died)


def test_every_load_is_in_the_confusion_matrix() -> None:
    for confusion in FOUND.tiers:
        assert sum(map(sum, confusion.counts)) == len(WORLD)
        assert confusion.over_promise is not None
        assert confusion.agree is not None
        assert confusion.agree > 0.9


def test_it_does_not_depend_on_the_order() -> None:
    assert evaluate(foretell_all(WORLD[::-1])) == FOUND


def test_it_can_be_read_back() -> None:
    assert Evaluation.model_validate_json(FOUND.model_dump_json()) == FOUND


def test_bounds_hold_in_a_world_that_is_good_and_not_in_another() -> None:
    quiet = evaluate(foretell_all(World(noise=0.02).observations()))
    names = {bound.name for bound in broken(quiet)}
    assert not {name for name in names if "coverage" not in name}
    loud = evaluate(foretell_all(World(noise=0.5).observations()))
    wrong = {bound.name for bound in broken(loud)}
    assert {"decode, wllama/wasm", "prefill, litert-lm/webgpu"} <= wrong
    assert "tiers of loads that ran" in wrong


def test_what_is_not_known_does_not_hold() -> None:
    calm = [o for o in WORLD if o.verdict is Verdict.OK]
    recall = next(b for b in bounds(evaluate(foretell_all(calm))) if b.name == "OOM recall")
    assert recall.holds is None
    assert recall in broken(evaluate(foretell_all(calm)))


def test_trials_that_are_not_trusted_are_counted_and_left_out() -> None:
    some = [replace(o, trusted=n % 4 != 0) for n, o in enumerate(WORLD)]
    found = evaluate(foretell_all(some))
    assert found.untrusted == 50
    assert errors(found).n == sum(o.trusted and Quantity.DECODE in o.measured for o in some)
    assert sum(map(sum, found.tiers[0].counts)) == len(WORLD)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_trials_can_be_evaluated(count: int) -> None:
    found = evaluate(foretell_all(WORLD[:count]))
    assert found.training.trials == count
    assert not [e for e in found.errors if e.rule == PROBE]


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.0, "0 %"), (0.034, "3.4 %"), (0.0996, "10 %"), (0.5, "50 %"), (6.19, "619 %"), (None, "-")],
)
def test_shares_as_people_read_them(share: float | None, words: str) -> None:
    assert percent(share) == words
