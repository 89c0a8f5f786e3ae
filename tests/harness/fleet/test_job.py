"""A job asks pytest for exactly the request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.device_state import change, phone_resource
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


def test_a_known_phone_that_is_away_is_a_case_for_the_ladder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path))
    monkeypatch.setattr("harness.fleet.job.unusable", lambda *_: "it is not plugged in")
    monkeypatch.setattr("harness.fleet.job.supervise", lambda _: Exit.LAB_FAULT)
    of_pixel7 = {"profile": "pixel7"}
    change(phone_resource("1A2B"), lambda state: state.model_copy(update=of_pixel7))
    said: list[str] = []
    assert run_job(job(serial="1A2B"), said.append) == Exit.LAB_FAULT
