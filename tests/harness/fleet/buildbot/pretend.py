"""A host whose job is a pretence: `python` for a worker, and the worker that finds it.

`python -m harness.fleet job` waits for a sign, stores a record that fulfils its request, and ends;
everything else of tierlab is what it is. So a test decides what is going on when something breaks.

    python pretend.py worker NAME PORT FOLDER LOST_AFTER
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

FOLDER = "PRETEND_FOLDER"
DEADLINE_SECONDS = 600.0


def become_worker(name: str, port: str, folder: str, lost_after: str) -> int:
    """Run a worker whose jobs are pretended."""
    from harness.fleet.worker import WorkerSettings, run_worker  # noqa: PLC0415

    home = Path(folder)
    programs = home / "programs"
    programs.mkdir(exist_ok=True)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).absolute()} "$@"\n')
    python.chmod(0o755)
    os.environ[FOLDER] = folder
    host, _, number = port.rpartition(":")
    return run_worker(
        WorkerSettings(
            name=name,
            host=host,
            port=int(number),
            base=home / "worker",
            results=home / "results",
            lost_after=float(lost_after),
            password="correct-horse-battery",  # noqa: S106 - a test's
            programs=programs,
        )
    )


def job(words: list[str]) -> int:
    """Pretend a trial: wait for the file `go`, store a record, exit with 0.

    Where there is a file `code`, that is the exit code, and nothing is stored.

    A line in `begun` says that it began, and with which PID.
    """
    from harness.fleet.supervision import end_with_worker  # noqa: PLC0415
    from results.fleet.requests import Request  # noqa: PLC0415
    from results.record import Lineage  # noqa: PLC0415
    from results.store import Store  # noqa: PLC0415
    from tests.results.records import record  # noqa: PLC0415

    end_with_worker()
    home = Path(os.environ[FOLDER])
    text = next(word for word in words if word.startswith("--request="))
    request = Request.model_validate_json(text.partition("=")[2])
    with (home / "begun").open("a") as file:
        file.write(f"{os.getpid()} {request.request_id}\n")
    end = time.monotonic() + DEADLINE_SECONDS
    while not (home / "go").exists():
        if time.monotonic() > end:
            return 75
        time.sleep(0.05)
    if (home / "code").exists():
        return int((home / "code").read_text())
    trial = f"{home.name}-{os.getpid()}"
    made = record(trial, request.run_id, workload=request.workload)
    lineage = Lineage(request_id=request.request_id, attempt_id=trial, number=1, resource=home.name)
    with Store.open(home / "results") as store:
        store.start_run(request.run_id, "a test")
        store.add(made.model_copy(update={"lineage": lineage}))
    return 0


def main() -> int:
    """As a worker, as `python`, or as a job."""
    words = sys.argv[1:]
    if words[:1] == ["worker"]:
        return become_worker(*words[1:])
    if words[:3] == ["-m", "harness.fleet", "job"]:
        return job(words[3:])
    return os.execv(sys.executable, [sys.executable, *words])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
