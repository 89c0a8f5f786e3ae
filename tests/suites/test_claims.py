"""The suite of claims: what is loaded in which order, and when it is red."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from harness.profiles import load_profiles
from results.claims import Outcome, Side, Status, claims
from results.record import Measurement, MemoryUse, Prediction, Record, Spread, Verdict
from results.response import Kept, Response
from suites import test_claims as suite
from tests.results.records import record

if TYPE_CHECKING:
    from harness.models import Workload
    from harness.profiles import Profile

WLLAMA = "wllama/wasm"
DESKTOP = load_profiles()["desktop"]
# Tokens a second and GB, by the general name.
SPEEDS = {"q4_0": 15.0, "q8_0": 12.0, "fp16": 6.0, "fp32": 3.0}
START = datetime(2025, 1, 2, tzinfo=UTC)


@dataclass
class FakeLaboratory:
    """Loads of an engine that does what articles say; `ends` are other ends of some."""

    ends: dict[str, Verdict] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    kept: list[Outcome | Response] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    foreseen: list[Workload] = field(default_factory=list)
    run_id: str = "run-1"

    def say(self, text: str) -> None:
        self.said.append(text)

    def keep(self, finding: Outcome | Response) -> None:
        self.kept.append(finding)

    def foresee(self, profile: Profile, workload: Workload) -> Prediction:
        assert profile is DESKTOP
        self.foreseen.append(workload)
        return Prediction(verdict="unsupported", reason="too large")

    def trials_of(self, profile: Profile, workload: Workload) -> list[Record]:
        assert profile is DESKTOP
        return [self.trial(profile, workload)] if workload.quantisation in SPEEDS else []

    def probe(self, profile: Profile, *, runtime: str) -> str:
        assert profile is DESKTOP
        assert runtime in suite.ENGINES
        return "the report"

    def trial(
        self, profile: Profile, workload: Workload, *, repeat: int = 0, report: str = ""
    ) -> Record:
        name = f"{workload.quantisation} {workload.variant}".rstrip()
        self.order.append(name)
        self.reports.append(report)
        speed = SPEEDS[workload.quantisation] + 0.01 * repeat
        whole = record()
        assert whole.artifact is not None
        changes: dict[str, Any] = {
            "started_at": START + timedelta(seconds=len(self.order)),
            "verdict": self.ends.get(name, Verdict.OK),
            "explanation": "said so",
            "workload": whole.workload.model_copy(
                update={
                    "model": workload.model,
                    "quantisation": workload.quantisation,
                    "variant": workload.variant,
                    "runtime": workload.runtime,
                    "prompt_tokens": workload.prompt_tokens,
                    "output_tokens": workload.output_tokens,
                }
            ),
            "measurement": Measurement(
                download_seconds=1.0,
                create_seconds=1.0,
                first_token_seconds=1.0,
                prefill_tokens_per_s=10 * speed,
                decode_ms=Spread(n=9, median=1000 / speed, p10=1.0, p90=1e6),
                memory=MemoryUse(processes={"renderer": int(3e9 / speed)}),
                wall_seconds=30.0,
            ),
        }
        assert profile is DESKTOP
        return record(f"{name}-{repeat}", **changes)


def record_of(lab: FakeLaboratory, rounds: int = 3) -> suite.Loads:
    return suite.load_in_turns(lab, DESKTOP, WLLAMA, rounds)  # type: ignore[arg-type]


def test_all_artifacts_are_loaded_in_turns() -> None:
    lab = FakeLaboratory()
    loads = record_of(lab)
    one = ["q8_0", "fp32", "fp16", "q4_0", "q8_0 pruned-20", "q8_0 pruned-50"]
    assert lab.order == one * 3
    assert set(lab.reports) == {"the report"}  # one probe for all
    assert {len(records) for records in loads.records.values()} == {3}
    assert lab.said[0] == f"claims on {WLLAMA}: round 1 of 3, load 1 of 6: int8"
    suite.test_every_load_gave_a_verdict(loads)


def test_every_side_of_every_claim_is_loaded() -> None:
    sides = suite.sides()
    assert len(sides) == len(set(sides))
    for claim in claims():
        assert claim.subject in sides
        assert claim.baseline in sides


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_a_refuted_claim_is_green_and_kept(claim: Any) -> None:
    lab = FakeLaboratory()
    suite.test_claim(lab, record_of(lab), claim)  # type: ignore[arg-type]
    (kept,) = lab.kept
    assert isinstance(kept, Outcome)
    expected = {
        "int8-decode-fp32": Status.CONFIRMED,
        "int8-decode-fp16": Status.NOT_MEASURABLE,  # just about twice
        "pruned-50-decode": Status.REFUTED,
    }
    assert kept.status is expected.get(claim.id, kept.status), kept.explanation
    assert str(kept.status) in lab.said[-1]


def test_what_the_device_cannot_load_is_green() -> None:
    lab = FakeLaboratory({"fp32": Verdict.OOM})
    loads = record_of(lab)
    suite.test_every_load_gave_a_verdict(loads)
    for claim in claims():
        suite.test_claim(lab, loads, claim)  # type: ignore[arg-type]
    statuses = {k.claim: k.status for k in lab.kept if isinstance(k, Outcome)}
    assert statuses["int8-decode-fp32"] is Status.NOT_MEASURABLE
    assert statuses["int4-decode-int8"] is Status.CONFIRMED


def test_what_the_lab_failed_to_measure_is_red() -> None:
    lab = FakeLaboratory({"fp32": Verdict.INFRA})
    loads = record_of(lab)
    with pytest.raises(AssertionError, match="said so"):
        suite.test_every_load_gave_a_verdict(loads)
    (claim,) = [c for c in claims() if c.id == "int8-decode-fp32"]
    with pytest.raises(AssertionError, match="no figure of fp32: infra"):
        suite.test_claim(lab, loads, claim)  # type: ignore[arg-type]
    assert len(lab.kept) == 1  # red, and kept all the same


def test_response_times_are_measured_where_a_load_ran() -> None:
    lab = FakeLaboratory()
    loads = record_of(lab)
    suite.test_response_time_of_what_was_loaded(lab, loads, Side("int8"))  # type: ignore[arg-type]
    asked = suite.workload(suite.MODEL, Side("int8"), WLLAMA)
    suite.test_response_time_of_what_was_asked_for(lab, DESKTOP, asked)  # type: ignore[arg-type]
    assert [(r.basis, r.n) for r in lab.kept if isinstance(r, Response)] == [
        ("measured", 3),
        ("measured", 1),
    ]
    assert lab.foreseen == []


def test_response_times_are_predicted_otherwise() -> None:
    lab = FakeLaboratory()
    asked = suite.workload("gemma-2b", Side("int4"), WLLAMA)
    assert asked.quantisation == "q4_k"
    suite.test_response_time_of_what_was_asked_for(lab, DESKTOP, asked)  # type: ignore[arg-type]
    (kept,) = lab.kept
    assert isinstance(kept, Response)
    assert (kept.basis, kept.warm, kept.cold) == ("predicted", Kept.CANNOT, Kept.CANNOT)
    assert (lab.foreseen[0].prompt_tokens, lab.foreseen[0].output_tokens) == (64, 32)
