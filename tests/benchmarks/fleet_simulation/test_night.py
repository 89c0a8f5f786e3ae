"""Faults, losses and deadlines in small labs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.fleet_simulation.lab import Lab, Phone
from benchmarks.fleet_simulation.night import Loss
from benchmarks.fleet_simulation.policy import Health, Policy
from tests.benchmarks.fleet_simulation.labs import NEVER, night, one_profile, requests


def _two_phones(dies_at: float) -> Lab:
    phones = (Phone(0, 0, 0, 0.0), Phone(1, 0, 0, 0.0, dies_at=dies_at))
    return Lab(phones, (requests([60.0] * 60),), hosts=1)


def test_a_dead_phone_eats_the_queue_unless_a_check_comes_first() -> None:
    lab = _two_phones(dies_at=100.0)
    none, check, quarantine = (
        night(lab, Policy(health=rule, deadline_seconds=NEVER))
        if rule is not Health.CHECK
        else night(lab, Policy(health=rule, deadline_seconds=10 * 3600))
        for rule in (Health.NONE, Health.CHECK, Health.QUARANTINE)
    )
    assert none.lost > 40
    assert (check.lost, check.recorded) == (0, 60)
    assert (quarantine.lost, quarantine.recorded) == (0, 60)
    assert quarantine.mending < check.mending


def test_a_cut_off_try_is_made_again_and_recorded_once() -> None:
    lab = one_profile(requests([100.0] * 4), 2)
    loss = Loss(at=30.0, phones=(0,), away_seconds=500.0, seen_after=45.0)
    outcome = night(lab, losses=[loss])
    assert (outcome.recorded, outcome.lost, outcome.tries["incomplete"]) == (4, 0, 1)
    assert outcome.wasted == pytest.approx(30.0)
    assert outcome.makespan == pytest.approx(400.0)  # all four on the other


def test_tries_that_were_cut_off_have_a_budget_of_their_own() -> None:
    lab = one_profile(requests([100.0]), 1)
    losses = [Loss(50.0 * n, (0,), 1.0, 1.0) for n in range(1, 9)]
    policy = Policy(health=Health.NONE, deadline_seconds=NEVER, infra_retries=0)
    assert night(lab, policy, losses=losses).lost == 1
    patient = replace(policy, incomplete_retries=8)
    assert night(lab, patient, losses=losses).recorded == 1


def test_nothing_is_started_after_the_deadline() -> None:
    lab = one_profile(requests([100.0] * 10), 2)
    outcome = night(lab, Policy(health=Health.NONE, deadline_seconds=250.0))
    assert (outcome.recorded, outcome.not_reached, outcome.late) == (6, 4, 2)
    assert outcome.makespan == 300.0


def test_without_a_device_left_the_night_still_ends() -> None:
    phone = Phone(0, 0, 0, 0.0, dies_at=0.0)
    lab = Lab((phone,), (requests([10.0] * 5),), hosts=1)
    outcome = night(lab, Policy(deadline_seconds=7200.0))
    assert outcome.recorded == 0
    assert outcome.lost + outcome.not_reached == 5
    assert outcome.makespan == 0.0


def test_a_loss_in_a_loss_only_lengthens_it() -> None:
    lab = one_profile(requests([10.0, 10.0]), 1)
    losses = [Loss(5.0, (0,), 100.0, 1.0), Loss(50.0, (0,), 100.0, 1.0)]
    outcome = night(lab, losses=losses)
    assert outcome.recorded == 2
    assert outcome.makespan == pytest.approx(150.0 + 20.0)
