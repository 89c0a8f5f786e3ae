"""Predictions against what happened: the whole table."""

from __future__ import annotations

from itertools import product
from typing import Literal, get_args

import pytest

from results.accuracy import judge_prediction
from results.record import Judgement, Prediction, Tiers, Verdict
from results.tiers import TIERS, Tier

Foreseen = Literal["ok", "oom", "unsupported", "unknown"]

RIGHT, OVER, UNDER, UNKNOWN = (
    Judgement.RIGHT,
    Judgement.OVER_PROMISE,
    Judgement.UNDER_PROMISE,
    Judgement.UNKNOWN,
)

# One row a prediction; columns as in `ENDED`. `ok` against `ok` is decided by the tiers.
ENDED = ("ok", "oom", "crash", "hang", "unsupported", "infra", "cascade")
TABLE: dict[Foreseen, tuple[Judgement, ...]] = {
    "ok": (RIGHT, OVER, OVER, OVER, OVER, UNKNOWN, UNKNOWN),
    "oom": (UNDER, RIGHT, RIGHT, RIGHT, RIGHT, UNKNOWN, UNKNOWN),
    "unsupported": (UNDER, RIGHT, RIGHT, RIGHT, RIGHT, UNKNOWN, UNKNOWN),
    "unknown": (UNKNOWN,) * 7,
}


def tiers(pair: Tier | None) -> Tiers:
    return Tiers(prefill=pair, decode=pair, pair=pair)


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(get_args(Foreseen))
    assert {Verdict(word) for word in ENDED} == set(Verdict)
    assert all(len(row) == len(ENDED) for row in TABLE.values())


@pytest.mark.parametrize(
    ("foreseen", "ended", "expected"),
    [(f, e, j) for f, row in TABLE.items() for e, j in zip(ENDED, row, strict=True)],
)
def test_feasibility(foreseen: Foreseen, ended: str, expected: Judgement) -> None:
    prediction = Prediction(verdict=foreseen, reason="a reason", tier=Tier.LOW)
    judgement, why = judge_prediction(prediction, Verdict(ended), tiers(Tier.LOW))
    assert judgement is expected
    assert foreseen in why or ended in why or "a reason" in why or "low" in why


@pytest.mark.parametrize(("predicted", "measured"), list(product(TIERS, TIERS)))
def test_tiers(predicted: Tier, measured: Tier) -> None:
    prediction = Prediction(verdict="ok", reason="", tier=predicted)
    judgement, why = judge_prediction(prediction, Verdict.OK, tiers(measured))
    difference = TIERS.index(predicted) - TIERS.index(measured)
    assert judgement is (RIGHT if difference == 0 else OVER if difference > 0 else UNDER)
    assert predicted in why
    assert measured in why


@pytest.mark.parametrize(("predicted", "measured"), [(None, Tier.LOW), (Tier.LOW, None)])
def test_a_tier_that_is_not_known_judges_nothing(
    predicted: Tier | None, measured: Tier | None
) -> None:
    prediction = Prediction(verdict="ok", reason="", tier=predicted)
    assert judge_prediction(prediction, Verdict.OK, tiers(measured))[0] is UNKNOWN


def test_another_failure_than_the_predicted_one_says_so() -> None:
    prediction = Prediction(verdict="oom", reason="")
    assert judge_prediction(prediction, Verdict.CRASH, tiers(None)) == (
        RIGHT,
        "predicted oom, ended as crash: either way it does not run",
    )
