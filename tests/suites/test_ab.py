"""The suite of A and B: what is run in which order, and when it is red."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.ab import AbPlan, Setup
from harness.models import Workload
from harness.profiles import load_profiles
from results.record import Record, Verdict
from suites import test_ab as suite
from tests.results.regressions.rounds import side

if TYPE_CHECKING:
    from harness.profiles import Profile

DESKTOP = load_profiles()["desktop"]
WORKLOAD = Workload("gemma-3-270m", "q4_k", "wllama/wasm", 16, 8)
AB = AbPlan("browser", Path("/a"), Path("/b"), rounds=6, tolerance=0.05)


@dataclass
class FakeLaboratory:
    """B takes `factor` times as long; `spoiled` are trials that the lab made nothing of."""

    factor: float = 1.0
    spoiled: tuple[str, ...] = ()
    order: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def probe(self, profile: Profile, *, runtime: str, setup: Setup) -> str:
        assert (profile, runtime) == (DESKTOP, WORKLOAD.runtime)
        return f"report of {setup.browser}"

    def trial(self, profile: Profile, workload: Workload, *, report: str, setup: Setup) -> Record:
        assert (profile, workload) == (DESKTOP, WORKLOAD)
        assert report == f"report of {setup.browser}"
        mark = setup.mark
        assert mark is not None
        self.order.append(f"{mark.side}{mark.round}")
        made = side(
            mark.side, mark.round, self.factor if mark.side == "B" else 1.0, version=mark.side
        )
        if self.order[-1] in self.spoiled:
            return made.model_copy(update={"verdict": Verdict.INFRA, "explanation": "no disk"})
        return made


def run(laboratory: FakeLaboratory) -> list[Record]:
    return suite.run_in_turns(laboratory, DESKTOP, WORKLOAD, AB)  # type: ignore[arg-type]


def test_both_take_turns_each_with_its_own_probe() -> None:
    laboratory = FakeLaboratory()
    records = run(laboratory)
    assert laboratory.order == [
        "A0", "B0", "B1", "A1", "A2", "B2", "B3", "A3", "A4", "B4", "B5", "A5",
    ]  # fmt: skip
    assert laboratory.said[1] == "wllama/wasm: round 1 of 6: B"
    suite.test_every_round_has_a_trial_of_both(records, AB)
    suite.test_b_is_no_worse_than_a(records)


def test_a_worse_b_is_red_and_says_by_how_much() -> None:
    records = run(FakeLaboratory(factor=1.25))
    with pytest.raises(pytest.fail.Exception) as raised:
        suite.test_b_is_no_worse_than_a(records)
    text = str(raised.value)
    assert text.startswith("B (chromium B) is worse than A (chromium A):\n  load time: regressed,")
    assert "decode speed: regressed, 0.800 times (0.800 to 0.800, n = 6)" in text
    assert "peak memory" not in text


def test_a_better_b_is_green() -> None:
    suite.test_b_is_no_worse_than_a(run(FakeLaboratory(factor=0.5)))


def test_a_death_of_b_is_told() -> None:
    records = [
        r.model_copy(update={"verdict": Verdict.OOM}) if r.trial_id[0] == "B" else r
        for r in run(FakeLaboratory())
    ]
    with pytest.raises(pytest.fail.Exception, match=r"verdict: regressed \(6 ok, then 6 oom\)"):
        suite.test_b_is_no_worse_than_a(records)


def test_what_the_lab_spoiled_is_never_green() -> None:
    records = run(FakeLaboratory(spoiled=("B3",)))
    with pytest.raises(AssertionError, match="no disk"):
        suite.test_every_round_has_a_trial_of_both(records, AB)
