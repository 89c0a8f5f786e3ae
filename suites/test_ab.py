"""Two browsers, or two versions of a runtime, on one device, in turns: is B worse than A?

    pytest suites/test_ab.py --ab browser=chromium,/opt/beta/chrome --model=gemma-3-270m
    pytest suites/test_ab.py --ab runtime=node_modules,/tmp/next --runtime=wllama/wasm

Each round loads the same artifact with the same workload once with either, so that what changes on
the machine meets both. It runs only where it is named. It fails where B is worse by more than the
tolerance; a figure that the rounds do not decide is told at the end, and is no failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.ab import FORMS
from harness.errors import UserError
from harness.plugin import PLAN
from results.record import Verdict
from results.regressions.ab import ab_outcomes
from results.regressions.table import said

if TYPE_CHECKING:
    from harness.ab import AbPlan
    from harness.laboratory import Laboratory
    from harness.models import Workload
    from harness.profiles import Profile
    from results.record import Record

pytestmark = pytest.mark.ab


@pytest.fixture(scope="session")
def ab(request: pytest.FixtureRequest) -> AbPlan:
    """What is compared."""
    plan = request.config.stash[PLAN].ab
    if plan is None:
        raise UserError("it is not said what to compare", f"give it {FORMS}")
    return plan


@pytest.fixture(scope="session")
def records(
    laboratory: Laboratory, profile: Profile, workload: Workload, ab: AbPlan
) -> list[Record]:
    """The trials of all rounds, in their order."""
    return run_in_turns(laboratory, profile, workload, ab)


def run_in_turns(
    laboratory: Laboratory, profile: Profile, workload: Workload, ab: AbPlan
) -> list[Record]:
    """Run every trial of a comparison, with one probe for either browser."""
    done: list[Record] = []
    for setup in ab.turns():
        assert setup.mark is not None
        laboratory.say(
            f"{workload.runtime}: round {setup.mark.round + 1} of {ab.rounds}: {setup.mark.side}"
        )
        report = laboratory.probe(profile, runtime=workload.runtime, setup=setup)
        done.append(laboratory.trial(profile, workload, report=report, setup=setup))
    return done


def test_every_round_has_a_trial_of_both(records: list[Record], ab: AbPlan) -> None:
    """A trial that measured nothing by the lab's own fault is never green."""
    spoiled = [r for r in records if r.verdict in {Verdict.INFRA, Verdict.CASCADE}]
    assert not spoiled, "; ".join(record.explanation for record in spoiled)
    (outcome,) = ab_outcomes(records)
    assert outcome.rounds == ab.rounds


def test_b_is_no_worse_than_a(records: list[Record]) -> None:
    """In how it ends, its load time, its speeds, and its memory."""
    (outcome,) = ab_outcomes(records)
    if outcome.regressed:
        lines = [f"B ({outcome.b}) is worse than A ({outcome.a}):"]
        lines += [said(comparison) for comparison in outcome.regressed]
        pytest.fail("\n  ".join(lines), pytrace=False)
