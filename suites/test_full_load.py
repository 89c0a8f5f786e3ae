"""The full load of each workload, judged against the prediction that the probe gave before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from results.record import Judgement, Verdict

if TYPE_CHECKING:
    from harness.laboratory import Laboratory
    from harness.models import Workload
    from harness.profiles import Profile
    from results.record import Record


@pytest.fixture(scope="session")
def record(laboratory: Laboratory, profile: Profile, workload: Workload) -> Record:
    """The trial: run once, asked by every test below."""
    return laboratory.trial(profile, workload)


def test_the_load_gives_a_verdict(record: Record) -> None:
    """A trial that measured nothing is the lab's own fault, and never green."""
    assert record.verdict not in {Verdict.INFRA, Verdict.CASCADE}, (
        f"no statement about {record.device.profile}: {record.explanation}"
    )


def test_the_prediction_was_right(record: Record) -> None:
    """Wrong is a wrong feasibility or a wrong tier; a predicted OOM that happens is right."""
    if record.judgement in {Judgement.OVER_PROMISE, Judgement.UNDER_PROMISE}:
        pytest.fail(f"{record.judgement}: {record.judgement_reason} ({record.explanation})")
    assert record.verdict not in {Verdict.INFRA, Verdict.CASCADE}, record.explanation


def test_the_expectations_of_the_profile_hold(record: Record, profile: Profile) -> None:
    """What the profile promises of this device, beside what was predicted."""
    if profile.expect.tier is not None:
        assert record.tiers.pair == profile.expect.tier, record.explanation
    if record.verdict is Verdict.OK:
        measurement = record.measurement
        assert measurement is not None
        assert len(measurement.tokens) == record.workload.output_tokens
        assert measurement.decode_tokens_per_s
    else:
        assert record.evidence, "a failure without any evidence"
