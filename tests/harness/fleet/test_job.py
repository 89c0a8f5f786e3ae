"""A job asks pytest for exactly the request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.fleet.exit_codes import Exit
from harness.fleet.job import Job, pytest_options, run_job
from tests.harness.fleet.asked import request

if TYPE_CHECKING:
    import pytest


def job(**changes: object) -> Job:
    plain: dict[str, object] = {
        "request": request(), "results": Path("/results"), "suites": ["suites/test_full_load.py"]
    }  # fmt: skip
    return Job(**plain | changes)  # type: ignore[arg-type]


def test_pytest_is_asked_for_the_request_and_nothing_else() -> None:
    options = pytest_options(job())
    assert options == [
        "--device=pixel7",
        "--model=gemma-2b",
        "--quant=int4",
        "--runtime=mediapipe/webgpu",
        "--prompt-tokens=16",
        "--output-tokens=8",
        "--source=network",
        "--run-id=run-1",
        "--results=/results",
    ]


def test_what_the_lab_knows_of_the_device_goes_along() -> None:
    options = pytest_options(
        job(serial="emulator-1", power_cycle="hub off", failure_retries=2, deadline_seconds=90.2)
    )
    assert options[-4:] == [
        "--failure-retries=2", "--power-cycle=hub off", "--serial=emulator-1", "--deadline=90s"
    ]  # fmt: skip


def test_a_device_that_cannot_be_used_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.fleet.job.unusable", lambda *_: "it is not plugged in")
    said: list[str] = []
    assert run_job(job(), said.append) == Exit.UNAVAILABLE
    assert said == ["pixel7 cannot be used now: it is not plugged in"]
