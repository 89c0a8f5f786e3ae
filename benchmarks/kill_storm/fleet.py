"""A lab on this machine: a Buildbot master, workers of two desktops and of a virtual phone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks.fleet_scenario.lab import SECRET, Lab, free_port
from benchmarks.kill_storm import ledger as books
from benchmarks.kill_storm.hosts import give_back, not_ready
from benchmarks.kill_storm.leftovers import Ground, leftovers
from harness.devices.android.server import PORT_VARIABLE, adb_binary
from results.fleet.attempts import attempts
from results.fleet.requests import progress
from results.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.kill_storm.crowd import Crowd

WORKERS: Final = {"one": "desktop", "two": "desktop", "phone": "pixel7"}
_PHONE: Final = "virtual phone"
_ADB: Final = "adb server"
_MASTER: Final = "master"

CONFIG: Final = """
[controller]
port = {port}
web_port = {web}
results = "results"
lost_after = "{lost_after:g}s"

[[devices]]
name = "one"
host = "host-one"
profile = "desktop"

[[devices]]
name = "two"
host = "host-two"
profile = "desktop"

[[devices]]
name = "phone"
host = "host-phone"
profile = "pixel7"

[schedules.storm]
models = ["gemma-3-270m"]
runtimes = ["wllama/wasm"]
quants = ["q8_0", "q4_0"]
prompt_tokens = 4
output_tokens = 2

[retries]
infra = 10
incomplete = 10
"""

_LOST_AFTER: Final = 10.0
_LOOK_SECONDS: Final = 2.0
_RUN_SECONDS: Final = 1500.0
# A job goes to whichever worker is free: the last runs are to bring one to each.
_MOST_LAST: Final = 4


class FleetScene:
    """Runs of a lab, one after the other.

    Args:
        folder: for all of it.
        crowd: the processes.
        say: told in words.
    """

    def __init__(self, folder: Path, crowd: Crowd, say: Callable[[str], None]) -> None:
        self._crowd, self._say = crowd, say
        folder.mkdir()
        temporary = folder / "tmp"
        temporary.mkdir()
        self._adb = asyncio.run(adb_binary())
        self._adb_port = str(free_port())
        os.environ |= {
            "TMPDIR": str(temporary), "TIERLAB_CACHE": str(folder / "cache"),
            PORT_VARIABLE: self._adb_port,
        }  # fmt: skip
        port, web = free_port(), free_port()
        config = CONFIG.format(port=port, web=web, lost_after=_LOST_AFTER)
        self._lab = Lab(folder, config, bind="127.0.0.1", port=port, web=web)
        homes = [self._lab.home(name) for name in WORKERS]
        self.results = [self._lab.results, *(home / "results" for home in homes)]
        self.ground = Ground(
            folder=folder,
            states=[home / "state" for home in homes],
            cache=folder / "cache",
            temporary=temporary,
            places=[*homes, folder / "controller"],
            serving=self._lab.home(_PHONE) / "state",
        )
        self._serial = ""
        self._looked = 0.0
        self.runs: list[str] = []
        self.asked_again = 0
        self.released = 0
        self.restarts: dict[str, int] = {}
        self.problems: list[str] = []

    def servants(self) -> set[int]:
        """See `Scene.servants`."""
        return {process.pid for process in self._lab.processes.values()}

    # ---- what systemd and people do ----

    def tend(self) -> None:
        """See `Scene.tend`."""
        self._serve()
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        if self._done():
            if self.runs:
                found = books.unfulfilled(self.results[0], self.runs[-1:])
                self.problems += found
                self._say(f"{self.runs[-1]} is complete; {len(found)} problems")
            self._new_run()
        self._looked = time.monotonic()

    def _serve(self) -> None:
        """Start again what has ended, as systemd does; and connect adb, as people do."""
        adb, phone = self._gone(_ADB), self._gone(_PHONE)
        if adb:
            words = [self._adb, "-P", self._adb_port, "nodaemon", "server"]
            self._lab.start(_ADB, words, self._lab.home(_ADB))
        if phone:
            self._start_phone()
        if adb or phone:
            self._connect()
        if self._gone(_MASTER):
            self._lab.start_master()
        for name in WORKERS:
            if self._gone(name):
                self._start_worker(name)

    def _gone(self, name: str) -> bool:
        """Whether a service must be started; it is counted."""
        process = self._lab.processes.get(name)
        if process is not None and process.poll() is None:
            return False
        self.restarts[name] = self.restarts.get(name, -1) + 1
        return True

    def _start_phone(self) -> None:
        home = self._lab.home(_PHONE)
        log = home / "log"
        before = log.stat().st_size if log.exists() else 0
        words = [sys.executable, "-m", "harness.cli", "phone", "start", "pixel7"]
        self._lab.start(_PHONE, [*words, "--work", str(home / "work")], home)
        end = time.monotonic() + 120
        while True:
            found = re.search(r"adb connect (\S+)", log.read_text()[before:])
            if found:
                break
            if self._lab.processes[_PHONE].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the virtual phone does not start; see {log}")
            time.sleep(0.1)
        if self._serial and self._adb_listens():
            self._adb_says("disconnect", self._serial)
        self._serial = found[1]

    def _connect(self) -> None:
        """Until adb has the phone: its server may just have started."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if not self._adb_listens():  # a client would start a daemon in its place
                time.sleep(0.1)
                continue
            self._adb_says("connect", self._serial)
            if f"{self._serial}\tdevice" in self._adb_says("devices"):
                return
            time.sleep(0.5)

    def _adb_listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(self._adb_port))) == 0

    def _adb_says(self, *words: str) -> str:
        command = [self._adb, "-P", self._adb_port, *words]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
        return done.stdout

    def _start_worker(self, name: str) -> None:
        home = self._lab.home(name)
        self.released += give_back(home / "state", {"TIERLAB_STATE": str(home / "state")})
        words = [sys.executable, "-m", "harness.cli", "fleet", "worker", "--name", name]
        words += ["--controller", self._lab.address, "--base", str(home / "worker")]
        words += ["--results", str(home / "results"), "--lost-after", f"{_LOST_AFTER:g}s"]
        self._lab.start(name, words, home, TIERLAB_FLEET_PASSWORD=SECRET)

    # ---- runs ----

    def _idle(self) -> bool:
        with contextlib.suppress(OSError):
            return self._lab.idle()
        return False

    def _done(self) -> bool:
        """Whether the run is complete. One that was given up is asked for again, as people do."""
        if not self._idle():
            return False
        for name in WORKERS:
            state = self._lab.home(name) / "state"
            self.released += give_back(state, {"TIERLAB_STATE": str(state)})
        if not self.runs:
            return True
        if (self.results[0] / FILE_NAME).exists():
            with Store.open(self.results[0]) as store:
                done = progress(store, self.runs[-1])
            if done.requested > 0 and not done.open:
                return True
        self.asked_again += 1
        self._say(f"{self.runs[-1]} is asked for again")
        self._force()
        return False

    def _new_run(self) -> None:
        self.runs.append(f"storm-{len(self.runs) + 1}")
        shutil.rmtree(self.ground.cache, ignore_errors=True)
        self._force()

    def _force(self) -> None:
        with contextlib.suppress(OSError):  # it is asked for again at the next look
            self._lab.force(schedule="storm", run_id=self.runs[-1])

    def finish(self) -> None:
        """Go on without kills until all is done, bring a job to each host, look at everything."""
        self._to_the_end()
        for _ in range(_MOST_LAST):
            before = [self._attempts(folder) for folder in self.results[1:]]
            self._new_run()
            self._to_the_end()
            if all(self._attempts(f) > n for f, n in zip(self.results[1:], before, strict=True)):
                break
        else:
            self.problems.append("some host had no job in the last runs")
        for name, profile in WORKERS.items():
            environment = {"TIERLAB_STATE": str(self._lab.home(name) / "state")}
            self.problems += not_ready(profile, environment)
        forwards = self._adb_says("forward", "--list").splitlines()
        spool = self._lab.folder / "controller" / "master" / "spool"
        self.problems += [f"forward {line}" for line in forwards if line]
        self.problems += [f"file {path}" for path in spool.iterdir()]
        self.problems += leftovers(self.ground, self._strangers)
        self._lab.close()
        phone = self._lab.home(_PHONE)
        ended = replace(self.ground, states=[phone / "state"], places=[phone], serving=None)
        self.problems += leftovers(ended, self._crowd.members)
        self.problems += books.unfulfilled(self.results[0], self.runs)

    def _to_the_end(self) -> None:
        end = time.monotonic() + _RUN_SECONDS
        while not self._done():
            if time.monotonic() > end:
                raise RuntimeError(f"{self.runs[-1]} does not come to an end")
            self._serve()
            time.sleep(_LOOK_SECONDS)

    def _attempts(self, folder: Path) -> int:
        if not (folder / FILE_NAME).exists():
            return 0
        with Store.open(folder) as store:
            return sum(len(attempts(store, run)) for run in self.runs)

    def _strangers(self) -> list[psutil.Process]:
        """The processes that belong to no service; of a worker, all that it started."""
        known = set()
        for name, process in self._lab.processes.items():
            known.add(process.pid)
            if name not in WORKERS:
                with contextlib.suppress(psutil.Error):
                    known |= {p.pid for p in psutil.Process(process.pid).children(recursive=True)}
        return [process for process in self._crowd.members() if process.pid not in known]

    def close(self) -> None:
        """End all that runs."""
        self._lab.close()

    def told(self) -> dict[str, Any]:
        """What else was counted."""
        return {
            "restarts": self.restarts, "asked again": self.asked_again, "released": self.released,
        }  # fmt: skip
