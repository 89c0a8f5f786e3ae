"""A job asks pytest for exactly the request, and ends with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.fleet.exit_codes import Exit
from harness.fleet.job import WORKER_PID, Job, pytest_options, run_job, supervise
from tests.harness.fleet.asked import request

PATIENCE_SECONDS = 30.0


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


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 128 + 9)])
def test_the_exit_code_is_that_of_the_command(script: str, code: int) -> None:
    assert supervise(["sh", "-c", script]) == code


def waited_for(condition: object) -> bool:
    assert callable(condition)
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


SUPERVISOR = """
import sys
from harness.fleet.job import supervise
sys.exit(supervise(sys.argv[2:], grace=float(sys.argv[1])))
"""
ORDERLY = """
import sys, time
open(sys.argv[1], "w").close()
try:
    time.sleep(600)
except KeyboardInterrupt:
    open(sys.argv[1] + ".tidy", "w").close()
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
open(sys.argv[1], "w").close()
time.sleep(600)
"""


def supervised(script: str, mark: Path, grace: float = 60) -> tuple[subprocess.Popen[bytes], int]:
    """A supervisor with a command that has begun, and the command's PID."""
    words = [sys.executable, "-c", SUPERVISOR, str(grace), sys.executable, "-c", script, str(mark)]
    process = subprocess.Popen(words)
    assert waited_for(mark.exists)
    (child,) = psutil.Process(process.pid).children()
    return process, child.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_end_is_an_interrupt_to_the_command(
    number: signal.Signals, tmp_path: Path
) -> None:
    process, _ = supervised(ORDERLY, tmp_path / "mark")
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert (tmp_path / "mark.tidy").exists()


def test_who_does_not_end_is_killed(tmp_path: Path) -> None:
    process, child = supervised(STUBBORN, tmp_path / "mark", grace=0.1)
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 128 + signal.SIGKILL
    assert not psutil.pid_exists(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_a_killed_job_leaves_nothing(tmp_path: Path) -> None:
    process, child = supervised(ORDERLY, tmp_path / "mark")
    process.kill()
    process.wait(PATIENCE_SECONDS)
    assert waited_for(lambda: not psutil.pid_exists(child))
    assert (tmp_path / "mark.tidy").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's end")
def test_a_job_whose_worker_is_gone_already_does_not_begin(tmp_path: Path) -> None:
    script = "from harness.fleet.job import _end_with_worker as end; end(); print('began')"
    environment = os.environ | {WORKER_PID: "1" if os.getpid() != 1 else "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True,
        cwd=tmp_path, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stdout == b""
