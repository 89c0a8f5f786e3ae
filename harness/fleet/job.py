"""One job on one host: `pytest suites` for one request, on one device, under a watchful parent.

A job ends with whoever started it, however that ends: the worker's end is a signal to the job, and
the job's end is one to pytest, which takes an interrupt as a reason to put everything back. A run
that was started for nobody would hold its device, and would be counted as somebody's later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.devices.places import PlacesSettings, unusable
from harness.emulation.phone.linux import die_with_parent
from harness.fleet.exit_codes import Exit
from harness.profiles import load_profiles, select

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from results.fleet.requests import Request

# The worker says who it is, so that a job that begins after its end does not begin.
WORKER_PID: Final = "TIERLAB_WORKER_PID"

# Closing a browser, a phone's forwards and a lease takes seconds; a stuck phone is not waited for.
_GRACE_SECONDS: Final = 30.0

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is told to do.

    Attributes:
        request: the trial.
        results: the results folder of this host.
        suites: the files of `suites/` to run.
        serial: the phone to use, where several match.
        power_cycle: the command that switches the device's port off and on.
        infra_retries: how often a trial is tried again here after a fault of the lab's own.
        failure_retries: how often after a load that crashed or hung.
        deadline_seconds: how long it may take; `None`: as long as it takes.
    """

    request: Request
    results: Path
    suites: list[str]
    serial: str | None = None
    power_cycle: str | None = None
    infra_retries: int | None = None
    failure_retries: int | None = None
    deadline_seconds: float | None = None


def pytest_options(job: Job) -> list[str]:
    """The options of `pytest suites` that ask for exactly the request."""
    workload = job.request.workload
    options = [
        f"--device={job.request.profile}",
        f"--model={workload.model}",
        f"--quant={workload.quantisation}",
        f"--runtime={workload.runtime}",
        f"--prompt-tokens={workload.prompt_tokens}",
        f"--output-tokens={workload.output_tokens}",
        f"--source={workload.source}",
        f"--run-id={job.request.run_id}",
        f"--results={job.results}",
    ]
    if job.failure_retries is not None:
        options.append(f"--failure-retries={job.failure_retries}")
    if job.infra_retries is not None:
        options.append(f"--infra-retries={job.infra_retries}")
    if job.power_cycle is not None:
        options.append(f"--power-cycle={job.power_cycle}")
    if job.serial is not None:
        options.append(f"--serial={job.serial}")
    if job.deadline_seconds is not None:
        options.append(f"--deadline={max(1, round(job.deadline_seconds))}s")
    return options


def run_job(job: Job, say: Callable[[str], None]) -> int:
    """Run a job to its end, or to that of whoever started it; an exit code as in `Exit`.

    Raises:
        UserError: the request names a profile that is not here.
    """
    _end_with_worker()
    if reason := _unavailable(job):
        say(f"{job.request.profile} cannot be used now: {reason}")
        return Exit.UNAVAILABLE
    return supervise([sys.executable, "-m", "pytest", *job.suites, *pytest_options(job)])


def _unavailable(job: Job) -> str | None:
    """Why the device of a job cannot be used now."""
    (profile,) = select(load_profiles(), [job.request.profile])
    return unusable(profile, PlacesSettings(serial=job.serial))


def _end_with_worker() -> None:
    """Be told to end when the worker ends, and do not begin where it is gone already."""
    worker = os.environ.get(WORKER_PID)
    if worker is not None and sys.platform == "linux":
        die_with_parent(int(worker), signal.SIGTERM)


def supervise(command: list[str], *, grace: float = _GRACE_SECONDS) -> int:
    """Run a command that ends with this process; its exit code, or 128 and a signal's number.

    A signal to end is passed on as an interrupt, once; who does not end within `grace` seconds is
    killed, with all of its process group.
    """
    me = os.getpid()

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
        if sys.platform == "linux":
            die_with_parent(me, signal.SIGINT)

    # This process has one thread, and what runs before the exec takes no lock.
    process = subprocess.Popen(command, preexec_fn=prepare, start_new_session=True)  # noqa: PLW1509
    with _passed_on(process) as asked:
        while True:
            try:
                code = process.wait(timeout=0.5)
                break
            except subprocess.TimeoutExpired:
                if asked and time.monotonic() - asked[0] > grace:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _passed_on(process: subprocess.Popen[bytes]) -> Iterator[list[float]]:
    """Pass the first signal to end on; the times at which one came, as they come."""
    asked: list[float] = []

    def interrupt(_: int, __: FrameType | None) -> None:
        if not asked and process.poll() is None:
            process.send_signal(signal.SIGINT)
        asked.append(time.monotonic())

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
