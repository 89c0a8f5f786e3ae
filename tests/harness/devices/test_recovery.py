from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from harness.devices.recovery import Finding, Rung, RungFailedError, Step, recover

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ILL = Finding("it does not answer")
WELL = Finding("it answers", passed=True)


def climb(
    findings: list[Finding],
    *outcomes: str | Exception | None,
    seconds: float = 5.0,
    within: float = 60.0,
) -> tuple[Finding, list[Step]]:
    """Climb rungs with these outcomes (`None`: it hangs); each check finds the next finding."""
    told: list[Step] = []

    def rung(number: int, outcome: str | Exception | None) -> Rung:
        async def climb() -> str:
            if outcome is None:
                await asyncio.Event().wait()
            if isinstance(outcome, Exception):
                raise outcome
            return str(outcome)

        return Rung(f"rung {number}", seconds, climb)

    async def check() -> Finding:
        return findings.pop(0)

    rungs = [rung(number, outcome) for number, outcome in enumerate(outcomes, 1)]
    return asyncio.run(recover(rungs, check, told=told.append, within=within)), told


def test_a_device_that_is_well_is_left_alone() -> None:
    assert climb([WELL], "never") == (WELL, [])


def test_the_first_rung_that_helps_is_the_last() -> None:
    finding, told = climb([ILL, ILL, WELL], "it is back", "it is back again", "never")
    assert finding is WELL
    assert [(step.rung, step.climbed, step.finding) for step in told] == [
        ("rung 1", True, ILL),
        ("rung 2", True, WELL),
    ]


def test_a_rung_that_failed_may_have_helped() -> None:
    finding, (step,) = climb([ILL, WELL], RungFailedError("it refuses"), "never")
    assert finding is WELL
    assert str(step) == "rung 1, 0 s: it refuses; health check passed: it answers"


def test_no_rung_helps() -> None:
    finding, told = climb([ILL] * 3, RungFailedError("it refuses"), "it is back")
    assert finding is ILL
    assert len(told) == 2
    assert str(told[0]).endswith("; health check failed: it does not answer")


@pytest.mark.parametrize(
    "findings", [[Finding("hot", waits=True)], [ILL, Finding("hot", waits=True)]]
)
def test_what_only_time_mends_is_not_climbed_for(findings: list[Finding]) -> None:
    expected = len(findings) - 1
    finding, told = climb(findings, "it is back", "never")
    assert finding.waits
    assert len(told) == expected


def test_a_rung_is_bounded() -> None:
    finding, (step,) = climb([ILL, WELL], None, seconds=0.02)
    assert finding is WELL
    assert (step.outcome, step.climbed) == ("not done within 0 s", False)


def test_all_rungs_together_are_bounded() -> None:
    finding, told = climb([ILL] * 4, None, None, "never", seconds=60, within=0.05)
    assert finding is ILL
    assert [step.rung for step in told] == ["rung 1"]


def test_what_a_check_raises_ends_the_ladder() -> None:
    async def check() -> Finding:
        raise RuntimeError("held by another host")

    refused: Callable[[], Awaitable[Finding]] = check
    with pytest.raises(RuntimeError, match="another host"):
        asyncio.run(recover([], refused, told=lambda _: None))
