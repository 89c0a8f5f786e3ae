"""The user's own benchmark program on a phone's processors, such as llama.cpp's `llama-bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.plugin import PLAN
from results.record import Verdict

if TYPE_CHECKING:
    from harness.devices.android.binary.options import Asked
    from harness.laboratory import Laboratory
    from harness.profiles import Profile
    from results.record import Record

pytestmark = [
    pytest.mark.binary,
    pytest.mark.devices(where=lambda profile: profile.kind == "android"),
]


@pytest.fixture(scope="session")
def record(
    request: pytest.FixtureRequest, laboratory: Laboratory, profile: Profile, binary_case: Asked
) -> Record:
    """The run: all cases of a phone one after the other, each asked by every test below."""
    plan = request.config.stash[PLAN].binary
    assert plan is not None, "nothing is run without --binary"
    return laboratory.run_binary(profile, plan)[binary_case]


def test_the_program_gives_a_verdict(record: Record) -> None:
    """What measured nothing is the lab's own fault, and never green."""
    assert record.verdict not in {Verdict.INFRA, Verdict.CASCADE}, (
        f"no statement about {record.device.profile}: {record.explanation}"
    )


def test_the_program_measures(record: Record) -> None:
    """Nothing was predicted, so a program that does not measure fails, for whatever reason."""
    assert record.verdict is Verdict.OK, f"{record.verdict}: {record.explanation}"
    measurement = record.measurement
    assert measurement is not None
    assert measurement.prefill_tokens_per_s, "no speed of the prompt"
    assert measurement.decode_tokens_per_s, "no speed of the output"
    assert measurement.memory.engine_bytes, "nobody saw the program's memory"


def test_the_program_ran_as_it_was_asked(record: Record) -> None:
    """A program may take its own number of threads or tokens: then the figures are another's."""
    if record.verdict is not Verdict.OK:
        pytest.fail(f"it did not run: {record.explanation}")
    native = record.conditions.facts["native"]
    assert isinstance(native, dict)
    said = native["said"]
    assert isinstance(said, dict)
    if "n_threads" in said:
        assert int(str(said["n_threads"])) == record.conditions.threads
    assert record.measurement is not None
    tokens = record.measurement.prompt_tokens
    if tokens is not None and record.workload.runtime.startswith("llama.cpp"):
        assert tokens >= record.workload.prompt_tokens
