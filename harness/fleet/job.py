"""One job on one host: `pytest suites` for one request, on one device."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.devices.places import PlacesSettings, expected, unusable
from harness.fleet.exit_codes import Exit
from harness.fleet.supervision import end_with_worker, supervise
from harness.profiles import load_profiles, select

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from results.fleet.requests import Request


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
    end_with_worker()
    if reason := _unavailable(job):
        say(f"{job.request.profile} cannot be used now: {reason}")
        return Exit.UNAVAILABLE
    return supervise([sys.executable, "-m", "pytest", *job.suites, *pytest_options(job)])


def _unavailable(job: Job) -> str | None:
    """Why the device of a job cannot be used now."""
    (profile,) = select(load_profiles(), [job.request.profile])
    places = PlacesSettings(serial=job.serial)
    # A phone that is known and away is a case for the recovery ladder, which only a run climbs.
    return None if expected(profile, places) else unusable(profile, places)
