"""A native app on a phone: it must answer a prompt, or fail in a way that is understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from results.record import Verdict

if TYPE_CHECKING:
    from harness.devices.appium.asking import AskedApp
    from harness.laboratory import Laboratory
    from harness.profiles import Profile
    from results.record import Record

pytestmark = [
    pytest.mark.native_app,
    pytest.mark.devices(where=lambda profile: profile.kind in {"android", "ios"}),
]


@pytest.fixture(scope="session")
def record(laboratory: Laboratory, profile: Profile, asked_app: AskedApp) -> Record:
    """The prompt: run once, asked by every test below."""
    return laboratory.ask_app(profile, asked_app)


def test_the_app_gives_a_verdict(record: Record) -> None:
    """What measured nothing is the lab's own fault, and never green."""
    assert record.verdict not in {Verdict.INFRA, Verdict.CASCADE}, (
        f"no statement about {record.device.profile}: {record.explanation}"
    )


def test_the_app_answers(record: Record) -> None:
    """Nothing was predicted, so an app that does not answer fails, for whatever reason."""
    assert record.verdict is Verdict.OK, f"{record.verdict}: {record.explanation}"
    measurement = record.measurement
    assert measurement is not None
    assert measurement.first_token_seconds, "an answer without a first token"
    if record.device.kind == "android":  # iOS shows nobody another app's memory
        assert measurement.memory.engine_bytes, "nobody saw the app's memory"
