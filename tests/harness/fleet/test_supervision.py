"""A command ends with whoever started it, in order where it can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.fleet.supervision import WORKER_PID, supervise

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 30.0


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 128 + 9)])
def test_the_exit_code_is_that_of_the_command(script: str, code: int) -> None:
    assert supervise(["sh", "-c", script]) == code


def waited_for(condition: Callable[[], object]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


SUPERVISOR = """
import sys
from harness.fleet.supervision import supervise
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
    script = "from harness.fleet.supervision import end_with_worker as end; end(); print('began')"
    environment = os.environ | {WORKER_PID: "1" if os.getpid() != 1 else "2"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True,
        cwd=tmp_path, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert done.stdout == b""
