"""Three virtual phones, a master and three workers, and one thing after the other that breaks.

    sudo .venv/bin/python -m benchmarks.fleet_scenario --folder /tmp/lab --model gemma-3-270m

Each host has an adb server, a state folder and results of its own; the third is behind a cable. A
run is started by hand, and while its trials go on a worker is killed, a host is cut off and the
master is killed; each comes back, as systemd and people see to it in a lab. In the end every trial
that was asked for must be recorded exactly once, and the whole story is printed. Needs root (for
the cable), Chromium, and some ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from benchmarks.fleet_scenario.cable import cable
from benchmarks.fleet_scenario.lab import SECRET, Lab, free_port, wait_for
from harness.devices.android.server import adb_binary
from results.fleet.requests import progress
from results.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.fleet_scenario.cable import Cable

RUN: Final = "night-1"
LOST_AFTER: Final = 15.0
TRIAL_SECONDS: Final = 1200.0

DEVICE: Final = """
[[devices]]
name = "{name}"
host = "host-{name}"
profile = "{profile}"
serial = "{serial}"
"""
CONTROLLER: Final = """
[controller]
bind = "{bind}"
port = {port}
web_port = {web}
results = "results"
lost_after = "{lost_after:g}s"

[schedules.nightly]
at = "02:00"
models = ["{model}"]
runtimes = ["wllama/wasm"]
quants = ["int8", "int4"]
deadline = "2h"

[retries]
infra = 3
incomplete = 5
"""


@dataclass
class Host:
    """One host with one phone."""

    name: str
    profile: str
    prefix: list[str]
    adb_port: int
    serial: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """What its processes find."""
        return {"ANDROID_ADB_SERVER_PORT": str(self.adb_port)}


class Scenario:
    """The lab, step by step."""

    def __init__(self, folder: Path, model: str, wire: Cable) -> None:
        self._folder = folder
        self._model = model
        self._wire = wire
        self._began = time.monotonic()
        self.hosts = [
            Host("pixel7-a", "pixel7", [], free_port()),
            Host("s24", "galaxy-s24", [], free_port()),
            Host("pixel7-b", "pixel7", wire.prefix, 5137),
        ]
        port, web = free_port(wire.here), free_port()
        self._config = CONTROLLER.format(
            bind=wire.here, port=port, web=web, lost_after=LOST_AFTER, model=model
        )
        self.lab = Lab(folder, "", bind=wire.here, port=port, web=web)

    def say(self, text: str) -> None:
        """Say what happens, and when."""
        print(f"{time.monotonic() - self._began:7.1f} s  {text}", flush=True)

    def start(self) -> None:
        """Phones, master, workers."""
        adb = asyncio.run(adb_binary())
        for host in self.hosts:
            home = self.lab.home(host.name)
            server = [*host.prefix, adb, "-P", str(host.adb_port), "nodaemon", "server"]
            self.lab.start(f"adb {host.name}", server, home, **host.environment)
        for host in self.hosts:
            self._start_phone(host, adb)
        devices = "".join(
            DEVICE.format(name=h.name, profile=h.profile, serial=h.serial) for h in self.hosts
        )
        (self._folder / "controller" / "fleet.toml").write_text(self._config + devices)
        self.lab.start_master()
        self.say("the master runs")
        for host in self.hosts:
            self.start_worker(host.name)

    def _start_phone(self, host: Host, adb: str) -> None:
        home = self.lab.home(host.name)
        log = home / "log"
        words = [*host.prefix, sys.executable, "-m", "harness.cli", "phone", "start", host.profile]
        self.lab.start(
            f"phone {host.name}", [*words, "--work", str(home / "phone")], home, **host.environment
        )
        address = re.compile(r"adb connect (\S+)")
        wait_for(lambda: address.search(log.read_text()), f"the phone of {host.name} starts")
        found = address.search(log.read_text())
        assert found is not None
        host.serial = found[1]
        words = [*host.prefix, adb, "-P", str(host.adb_port)]
        subprocess.run(
            [*words, "connect", host.serial], check=True, capture_output=True, timeout=30
        )
        wait_for(lambda: self._ready(words), f"adb sees the phone of {host.name}")
        self.say(f"{host.name}: a virtual {host.profile} at {host.serial}")

    @staticmethod
    def _ready(words: list[str]) -> bool:
        listed = subprocess.run([*words, "devices"], check=True, capture_output=True, timeout=30)
        return b"\tdevice" in listed.stdout

    def start_worker(self, name: str) -> None:
        """Start the worker of a host, and wait until the master has it."""
        (host,) = (one for one in self.hosts if one.name == name)
        home = self.lab.home(name)
        words = [*host.prefix, sys.executable, "-m", "harness.cli", "fleet", "worker"]
        words += ["--name", name, "--controller", self.lab.address, "--base", str(home / "worker")]
        words += ["--results", str(home / "results"), "--lost-after", f"{LOST_AFTER:g}s"]
        self.lab.start(name, words, home, TIERLAB_FLEET_PASSWORD=SECRET, **host.environment)
        wait_for(lambda: self.lab.connected(name), f"the worker {name} is connected")
        self.say(f"worker {name} is connected")

    def in_mid_trial(self, name: str) -> bool:
        """Whether a trial goes on at a host: its evidence is being written, and has no record."""
        results = self.lab.home(name) / "results"
        begun = {path.name for path in (results / "trials").glob("*")}
        if not begun or not (results / "store.sqlite3").exists():
            return False
        with Store.open(results) as store:
            return bool(begun - {one.trial_id for one in store.records()}) and self._busy(name)

    def _busy(self, name: str) -> bool:
        worker = psutil.Process(self.lab.processes[name].pid)
        return any("pytest" in " ".join(p.cmdline()) for p in worker.children(recursive=True))

    def recorded(self) -> tuple[int, int]:
        """How many trials are recorded on the controller, and of how many."""
        with Store.open(self.lab.results) as store:
            done = progress(store, RUN)
        return done.recorded, done.requested

    def run(self) -> None:
        """Start a run, and break one thing after the other."""
        self.lab.force(schedule="nightly", run_id=RUN)
        self.say("a run is started through the REST interface")
        self._wait("pixel7-a", "its worker is killed in the middle of a trial")
        self.lab.kill("pixel7-a")
        self._wait("pixel7-b", "its host is cut off in the middle of a trial")
        self._wire.cut()
        wait_for(lambda: not self.lab.connected("pixel7-b"), "the master misses the host")
        self.say("the master misses pixel7-b")
        self.start_worker("pixel7-a")
        self._wait("s24", "the master is killed in the middle of its trial")
        self.lab.kill("master")
        self.lab.start_master()
        self.say("the master runs again")
        wait_for(lambda: all(map(self.lab.connected, ("pixel7-a", "s24"))), "workers come back")
        self.say("both workers that are not cut off are back")
        last = (-1, 0)
        end = time.monotonic() + TRIAL_SECONDS
        while (now := self.recorded())[0] < now[1]:
            if now != last:
                self.say(f"{now[0]} of {now[1]} trials recorded")
                last = now
            assert time.monotonic() < end, "not all was recorded"
            time.sleep(1)
        before = self.lab.collected("host-pixel7-b")
        self._wire.mend()
        wait_for(lambda: self.lab.connected("pixel7-b"), "the host that was cut off is back")
        self.say("the cable is mended, and pixel7-b is back")
        wait_for(lambda: self.lab.collected("host-pixel7-b") > before, "it hands over")
        wait_for(self.lab.idle, "the master has nothing more to do", TRIAL_SECONDS)

    def _wait(self, name: str, then: str) -> None:
        wait_for(lambda: self.in_mid_trial(name), f"a trial on {name}", TRIAL_SECONDS)
        self.say(f"{name}: {then}")

    def check(self) -> None:
        """Every trial that was asked for is recorded exactly once."""
        with Store.open(self.lab.results) as store:
            done = progress(store, RUN)
            counted = [one.lineage.request_id for one in store.records(run_id=RUN) if one.lineage
                       and one.verdict not in {"infra", "cascade"}]  # fmt: skip
        assert done.recorded == done.requested == len(counted) == len(set(counted)), (done, counted)
        self.say(f"{done.recorded} of {done.requested} trials recorded, each exactly once;"
                 f" {done.superseded} superseded")  # fmt: skip

    def show(self) -> None:
        """The story, as a person reads it."""
        words = [sys.executable, "-m", "harness.cli", "runs", "show", RUN, "--story"]
        subprocess.run([*words, "--results", str(self.lab.results)], check=True, timeout=120)


def left_behind(folder: Path) -> list[str]:
    """Processes that still have the folder in their environment or command.

    Whoever started this one, such as `sudo`, has it in its command as well.
    """
    this = psutil.Process()
    mine = {this.pid, *(parent.pid for parent in this.parents())}
    found = []
    for process in psutil.process_iter():
        try:
            words = " ".join(process.cmdline())
            state = process.environ().get("TIERLAB_STATE", "")
        except psutil.Error:
            continue
        if str(folder) in words + state and process.pid not in mine:
            found.append(f"{process.pid}: {words[:120]}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 where all holds."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet_scenario",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="a new folder; kept at the end")
    parser.add_argument("--model", default="gemma-3-270m", help="default: %(default)s")
    options = parser.parse_args(arguments)
    folder: Path = options.folder.absolute()
    folder.mkdir(parents=True)
    with cable(os.getpid() % 250) as wire:
        scenario = Scenario(folder, options.model, wire)
        try:
            scenario.start()
            scenario.run()
            scenario.check()
            scenario.show()
        finally:
            scenario.lab.close()
    left = left_behind(folder)
    print("\n".join(["left behind:", *left]) if left else "nothing is left behind")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
