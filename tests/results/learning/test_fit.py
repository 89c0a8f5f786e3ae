from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from results.calibration import Calibration
from results.learning import expected_value, fit, needed_bytes
from results.learning.fit import rows_of, training
from results.learning.predict import weighted_sum
from results.learning.robust import choose_terms
from results.observation import Observation, Quantity
from results.record import Verdict
from tests.results.worlds import DEVICES, ENGINES, MODELS, Engine, World

WORLD = World().observations()
FITTED = fit(WORLD)


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.recipe)
def test_it_finds_the_factors_that_the_world_has(engine: Engine) -> None:
    fits = FITTED.engines[engine.recipe]
    decode, prefill = fits[Quantity.DECODE].factors, fits[Quantity.PREFILL].factors
    for name in ("int4", "int8"):
        assert decode[f"matrix.{name}"] == pytest.approx(engine.matrix, rel=0.05)
        assert prefill[f"product.{name}"] == pytest.approx(engine.product, rel=0.05)
    assert decode["operations"] == pytest.approx(engine.operations, rel=0.35)
    assert fits[Quantity.LOAD].factors["bytes"] == pytest.approx(engine.load, rel=0.1)
    assert fits[Quantity.FIRST_TOKEN].factors["prefill"] == pytest.approx(1, rel=0.05)
    assert fits[Quantity.MEMORY].factors["file"] == pytest.approx(engine.copies, rel=0.1)


def test_what_cannot_be_told_from_nothing_gets_no_factor() -> None:
    for fits in FITTED.engines.values():
        assert fits[Quantity.DECODE].factors["barrier"] == 0


def test_it_tells_its_own_error() -> None:
    for fits in FITTED.engines.values():
        found = fits[Quantity.DECODE]
        assert 0.01 < found.median_error < 0.05
        assert found.median_error <= found.p90_error < 0.12
        assert 0.85 < found.low < 1 < found.high < 1.18
        assert found.devices == len(DEVICES)


def test_the_order_of_trials_does_not_matter() -> None:
    shuffled = list(WORLD)
    random.Random(3).shuffle(shuffled)  # noqa: S311 - repeatable
    assert fit(shuffled).model_dump_json() == FITTED.model_dump_json()


def test_it_can_be_read_back() -> None:
    assert Calibration.model_validate_json(FITTED.model_dump_json()) == FITTED


def test_trials_that_are_not_trusted_do_not_count() -> None:
    wrong = [
        replace(o, trial_id=f"{o.trial_id} wrong", trusted=False, measured={Quantity.DECODE: 99.0})
        for o in WORLD
    ]
    assert fit([*WORLD, *wrong]) == FITTED


def test_few_trials_that_went_wrong_do_not_move_it() -> None:
    chance = random.Random(5)  # noqa: S311 - repeatable
    odd = [
        replace(o, measured={q: v * 20 for q, v in o.measured.items()})
        if chance.random() < 0.05
        else o
        for o in WORLD
    ]
    for recipe, fits in fit(odd).engines.items():
        before = FITTED.engines[recipe][Quantity.DECODE].factors["matrix.int4"]
        assert fits[Quantity.DECODE].factors["matrix.int4"] == pytest.approx(before, rel=0.1)


def test_a_cell_counts_once_however_often_it_was_measured() -> None:
    often = [
        replace(
            o,
            trial_id=f"{o.trial_id} {number}",
            measured={q: v * 3 for q, v in o.measured.items()},
        )
        for o in WORLD
        if o.device == DEVICES[0].name and o.model == MODELS[0].name
        for number in range(200)
    ]
    for recipe, fits in fit([*WORLD, *often]).engines.items():
        before = FITTED.engines[recipe][Quantity.DECODE].factors["matrix.int8"]
        assert fits[Quantity.DECODE].factors["matrix.int8"] == pytest.approx(before, rel=0.05)


def test_a_bad_device_widens_the_band() -> None:
    bad = tuple(replace(d, bad=2.5) if n in {3, 7} else d for n, d in enumerate(DEVICES))
    for recipe, fits in fit(World(devices=bad).observations()).engines.items():
        assert fits[Quantity.DECODE].high > 1.5 * FITTED.engines[recipe][Quantity.DECODE].high


def test_few_cells_have_few_terms() -> None:
    few = World(devices=DEVICES[:2], models=MODELS[:2], engines=ENGINES[:1]).observations()
    fits = fit(few).engines[ENGINES[0].recipe]
    used = {term.split(".")[0] for term, factor in fits[Quantity.DECODE].factors.items() if factor}
    assert len(used) == 1


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_trials_have_no_fit(count: int) -> None:
    assert fit(WORLD[:count]).engines == {}


def test_only_terms_that_may_enter_do() -> None:
    found = fit(WORLD, {Quantity.DECODE: {"matrix"}})
    factors = found.engines[ENGINES[0].recipe][Quantity.DECODE].factors
    assert factors.keys() == {"matrix.int4", "matrix.int8"}


def test_a_kernel_that_one_report_lacks_leaves_that_trial_out() -> None:
    def without(o: Observation, number: int) -> Observation:
        if number % 5:
            return o
        decode = {t: b for t, b in o.terms[Quantity.DECODE].items() if t != "operations"}
        return replace(o, terms={**o.terms, Quantity.DECODE: decode})

    mine = [o for o in WORLD if o.recipe == ENGINES[0].recipe and o.measured]
    rows = rows_of([without(o, n) for n, o in enumerate(mine)], Quantity.DECODE, {})
    assert rows is not None
    assert len(rows.ratios) == sum(bool(n % 5) for n in range(len(mine)))
    assert "operations" in rows.terms


def test_a_kernel_that_most_reports_lack_is_no_term() -> None:
    mine = [o for o in WORLD if o.recipe == ENGINES[0].recipe and o.measured]
    some = [
        o
        if number % 4 == 0
        else replace(
            o,
            terms={
                **o.terms,
                Quantity.DECODE: {
                    t: b for t, b in o.terms[Quantity.DECODE].items() if t != "operations"
                },
            },
        )
        for number, o in enumerate(mine)
    ]
    rows = rows_of(some, Quantity.DECODE, {})
    assert rows is not None
    assert len(rows.ratios) == len(mine)
    assert "operations" not in rows.terms


def test_terms_of_the_truth_are_chosen() -> None:
    mine = [o for o in World(noise=0.01).observations() if o.recipe == ENGINES[1].recipe]
    rows = rows_of(mine, Quantity.DECODE, {})
    assert rows is not None
    chosen = {rows.terms[column] for column in choose_terms(rows)}
    assert {"matrix.int4", "matrix.int8", "operations"} <= chosen


def test_the_training_is_named() -> None:
    found = training(WORLD)
    assert found.trials == len(WORLD)
    assert found.devices == tuple(sorted(d.name for d in DEVICES))
    assert found.models == tuple(sorted(m.name for m in MODELS))
    assert found.processors == ("Some Processor",)
    assert found.newest == "2026-01-02"
    assert found.sha256 == training(reversed(WORLD)).sha256
    assert found.sha256 != training(WORLD[1:]).sha256


def test_the_first_token_rests_on_the_predicted_prefill() -> None:
    one = next(o for o in WORLD if o.measured)
    fits = FITTED.engines[one.recipe]
    prefill = expected_value(one, Quantity.PREFILL, fits)
    assert prefill is not None
    factors = fits[Quantity.FIRST_TOKEN].factors
    expected = expected_value(one, Quantity.FIRST_TOKEN, fits)
    assert expected == pytest.approx(factors["prefill"] * prefill + factors["fixed"])


def test_what_died_and_what_ran_are_parted() -> None:
    for o in WORLD:
        need = needed_bytes(o, FITTED.engines[o.recipe])
        assert need is not None
        assert o.memory_limit_bytes is not None
        assert (need > o.memory_limit_bytes) == (o.verdict is Verdict.OOM)


@pytest.mark.parametrize(
    ("bases", "factors", "expected"),
    [
        ({"matrix.int4": 2.0, "fixed": 1.0}, {"matrix.int4": 3.0, "fixed": 0.5}, 6.5),
        ({"matrix.int4": 2.0}, {"matrix.int4": 3.0, "matrix.int8": 9.0}, 6.0),
        # Never seen with this quantisation.
        ({"matrix.int4": 2.0, "fixed": 1.0}, {"matrix.int8": 9.0, "fixed": 1.0}, None),
        ({"matrix.int4": 2.0}, {"matrix.int4": 3.0, "small": 1.0}, None),
        ({"matrix.int4": 2.0}, {"matrix.int4": 3.0, "small": 0.0}, 6.0),
        ({"matrix.int4": math.nan}, {"matrix.int4": 3.0}, None),
        ({}, {}, None),
    ],
)
def test_a_sum_is_unknown_where_a_base_is_missing(
    bases: dict[str, float], factors: dict[str, float], expected: float | None
) -> None:
    assert weighted_sum(bases, factors, "int4") == expected


TRUTH = {
    engine.recipe: {
        Quantity.DECODE: {
            "matrix.int4": 2 * engine.matrix,
            "matrix.int8": 2 * engine.matrix,
            "operations": 2 * engine.operations,
        }
    }
    for engine in ENGINES
}


def test_of_few_trials_what_is_believed_is_scaled() -> None:
    few = World(devices=DEVICES[3:4], models=MODELS[:3], engines=ENGINES[:1]).observations()
    found = fit(few, beliefs=TRUTH).engines[ENGINES[0].recipe][Quantity.DECODE]
    assert found.factors["matrix.int4"] == pytest.approx(ENGINES[0].matrix, rel=0.1)
    assert found.factors["operations"] == pytest.approx(ENGINES[0].operations, rel=0.1)
    assert found.median_error < 0.1


def test_what_is_believed_holds_for_weights_that_were_not_seen() -> None:
    few = World(devices=DEVICES[3:4], models=MODELS[::2], engines=ENGINES[:1]).observations()
    fits = fit(few, beliefs=TRUTH).engines[ENGINES[0].recipe]
    other = next(o for o in WORLD if o.quantisation == "int8" and o.measured)
    expected = expected_value(other, Quantity.DECODE, fits)
    assert expected == pytest.approx(other.measured[Quantity.DECODE], rel=0.2)
    without = fit(few).engines[ENGINES[0].recipe]
    assert expected_value(other, Quantity.DECODE, without) is None


def test_a_belief_that_is_wrong_gives_way_to_many_trials() -> None:
    wrong = {recipe: {Quantity.DECODE: {"fixed": 30.0}} for recipe in TRUTH}
    for engine in ENGINES:
        found = fit(WORLD, beliefs=wrong).engines[engine.recipe][Quantity.DECODE]
        assert found.factors["matrix.int8"] == pytest.approx(engine.matrix, rel=0.1)
        assert found.median_error < 0.05


def test_a_belief_that_cannot_be_told_is_left_out() -> None:
    unknown = {recipe: {Quantity.DECODE: {"nothing": 1.0}} for recipe in TRUTH}
    assert fit(WORLD, beliefs=unknown) == FITTED


def test_a_death_far_below_the_limit_does_not_move_the_margin() -> None:
    odd = [
        replace(o, trial_id=f"{o.trial_id} odd", verdict=Verdict.OOM, measured={})
        for o in WORLD
        if o.memory_limit_bytes == 12e9
    ]
    for recipe, fits in fit([*WORLD, *odd]).engines.items():
        before = FITTED.engines[recipe][Quantity.MEMORY].margin
        assert fits[Quantity.MEMORY].margin == before
