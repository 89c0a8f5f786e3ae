"""How much one Buildbot master with SQLite bears, measured on loopback.

    python -m benchmarks.controller_load --workers 20 --builders 10 --requests 2000
    python -m benchmarks.controller_load --workers 500 --builders 50 --requests 0

A real master and real workers (all in one process, see workers.tac) of jobs that do nothing: how
many requests a second it queues and how many builds it ends, what a build costs of its processor,
and its memory and processor time with so many workers connected and idle. `--requests 0` measures
the idle part only. Nothing listens anywhere but on 127.0.0.1; everything is deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.markdown import markdown_table, significant
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE: Final = Path(__file__).parent
HEADS: Final = (
    "workers, builders, requests, steps",
    "CPU s to connect",
    "master MB",
    "idle CPU %",
    "queued a second",
    "builds ended a second",
    "CPU ms a build",
    "database kB a build",
)
_START_SECONDS: Final = 300.0
# The master rests when it used less than this share of a processor for so long.
_REST_SECONDS: Final = 5.0
_REST_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Load:
    """What to put on the master."""

    workers: int
    builders: int
    requests: int
    steps: int
    port: int = 28989
    idle_seconds: float = 30.0
    limit_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What the master took.

    Attributes:
        connecting_seconds: of its processor, from its start until all workers were there.
        memory_bytes: resident, with all workers connected, before the first request.
        idle_share: processor seconds a second while nothing was to be done.
        queue_seconds: until the last request was in the database; jobs already ran meanwhile.
        run_seconds: from the first request to the end of the last build.
        cpu_seconds: of the master, over `run_seconds`.
        database_bytes: how much the database grew by.
    """

    load: Load
    connecting_seconds: float
    memory_bytes: int
    idle_share: float
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    cpu_seconds: float = 0.0
    database_bytes: int = 0


def row(cost: Cost) -> list[str]:
    """A cost as a row of the table of `HEADS`."""
    load, n = cost.load, cost.load.requests
    cells = [
        f"{load.workers}, {load.builders}, {n}, {load.steps}",
        significant(cost.connecting_seconds),
        significant(cost.memory_bytes / 1e6),
        significant(100 * cost.idle_share, 2),
    ]
    if not n:
        return [*cells, "-", "-", "-", "-"]
    return [
        *cells,
        significant(n / cost.queue_seconds),
        significant(n / cost.run_seconds),
        significant(1000 * cost.cpu_seconds / n),
        significant(cost.database_bytes / 1e3 / n, 2),
    ]


def _notes(path: Path) -> dict[str, float]:
    """When each thing that the master noted happened (Unix time); the first of a kind counts."""
    found: dict[str, float] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            note = json.loads(line)
            found.setdefault(note["what"], note["at"])
    return found


def _wait(path: Path, what: str, process: psutil.Popen, seconds: float, log: Path) -> float:
    """When the master noted `what`.

    Raises:
        UserError: it ended before, or did not note it in time.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = _notes(path)
        if what in found:
            return found[what]
        if process.poll() is not None:
            raise UserError(
                f"the Buildbot master ended before it was {what!r}",
                f"its log says: {_end(log)}",
            )
        time.sleep(0.1)
    raise UserError(
        f"the Buildbot master was not {what!r} within {seconds:.0f} s",
        "take fewer workers or requests, or a longer --limit",
    )


def _end(log: Path) -> str:
    """What a log says of an error: the first line with one, and two more; else its end."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    first = next((n for n, line in enumerate(lines) if "Error" in line), len(lines) - 3)
    return " ".join(line.strip() for line in lines[max(0, first) : first + 3]) or "none"


@contextmanager
def _process(command: Sequence[str], cwd: Path, env: dict[str, str]) -> Iterator[psutil.Popen]:
    """A process of its own that is gone afterwards; its output in `cwd/output`."""
    with (cwd / "output").open("wb") as output:
        process = psutil.Popen(command, cwd=cwd, env=env, stdout=output, stderr=output)
        try:
            yield process
        finally:
            with suppress(psutil.NoSuchProcess):
                process.terminate()
            try:
                process.wait(20)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(5)


def _cpu(process: psutil.Popen) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _settle(process: psutil.Popen) -> float:
    """Wait until the master rests, and tell its processor seconds since it was started.

    A worker that has connected is told of its builders, and tells of itself: that takes longer than
    the connection.
    """
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        before = _cpu(process)
        time.sleep(_REST_SECONDS)
        if _cpu(process) - before < _REST_SHARE * _REST_SECONDS:
            break
    return _cpu(process)


def measure(load: Load, home: Path) -> Cost:
    """Start a master and its workers in `home`, load it, and end it all.

    Raises:
        UserError: Buildbot is not installed, or did not do it in time.
    """
    bin_folder = Path(sys.executable).parent
    if not (bin_folder / "buildbot").exists():
        raise UserError("Buildbot is not installed", "install tierlab[controller,worker]")
    master, workers, notes = home / "master", home / "workers", home / "notes"
    master.mkdir()
    workers.mkdir()
    env = os.environ | {
        "LOAD_WORKERS": str(load.workers),
        "LOAD_BUILDERS": str(load.builders),
        "LOAD_REQUESTS": str(load.requests),
        "LOAD_STEPS": str(load.steps),
        "LOAD_PORT": str(load.port),
        "LOAD_NOTES": str(notes),
        "LOAD_HOME": str(workers),
    }
    create = [str(bin_folder / "buildbot"), "create-master", str(master)]
    subprocess.run(create, check=True, env=env, capture_output=True, timeout=_START_SECONDS)
    shutil.copy(HERE / "master.cfg", master / "master.cfg")
    twistd = [str(bin_folder / "twistd"), "--nodaemon", "--pidfile=", "--logfile=-"]
    log = master / "twistd.log"
    database = master / "state.sqlite"
    with (
        _process([*twistd, "-y", "buildbot.tac"], master, env) as process,
        _process([*twistd, "-y", str(HERE / "workers.tac")], workers, env),
    ):
        _wait(notes, "connected", process, _START_SECONDS, log)
        connecting = _settle(process)
        memory, cpu = process.memory_info().rss, _cpu(process)
        time.sleep(load.idle_seconds)
        idle = (_cpu(process) - cpu) / load.idle_seconds
        if not load.requests:
            return Cost(load, connecting, memory, idle)
        cpu, size = _cpu(process), database.stat().st_size
        (home / "go").touch()
        began = _wait(notes, "queueing", process, load.limit_seconds, log)
        queued = _wait(notes, "queued", process, load.limit_seconds, log)
        done = _wait(notes, "done", process, load.limit_seconds, log)
        return Cost(
            load,
            connecting,
            memory,
            idle,
            queue_seconds=queued - began,
            run_seconds=done - began,
            cpu_seconds=_cpu(process) - cpu,
            database_bytes=database.stat().st_size - size,
        )


def main() -> None:
    """Measure, and print a row of a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.controller_load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--builders", type=int, default=10, help="one a profile")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=1, help="of each build, `true` each")
    parser.add_argument("--port", type=int, default=28989, help="on 127.0.0.1")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds to measure at rest")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for the requests")
    options = parser.parse_args()
    load = Load(
        options.workers,
        options.builders,
        options.requests,
        options.steps,
        options.port,
        options.idle,
        options.limit,
    )
    with tempfile.TemporaryDirectory(prefix="controller-load-") as home:
        try:
            print(markdown_table(HEADS, [row(measure(load, Path(home)))]))
        except UserError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
