"""A master and three workers: whatever is killed or cut off, each trial is recorded exactly once.

The jobs are pretended (see pretend.py), so that each thing breaks in the middle of a job; all that
queues, tries again, hands over and counts is real.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from benchmarks.fleet_scenario.cable import cable
from benchmarks.fleet_scenario.lab import Lab, free_port, wait_for
from harness.fleet.exit_codes import Exit
from results.fleet.requests import progress
from results.store import Store
from tests.results.influx.influxd import ORG, TOKEN, influx_fixture  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.fleet_scenario.cable import Cable
    from tests.results.influx.influxd import Influx

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="a cable is cut in a network namespace, which needs Linux, root and iproute2",
    ),
]

LOST_AFTER = 4.0
RUN = "run-1"

CONFIG = """
[controller]
bind = "{bind}"
port = {port}
web_port = {web}
results = "results"
lost_after = "{lost_after:g}s"
rest = "1s"

[[devices]]
name = "a"
host = "lab-1"
profile = "desktop"

[[devices]]
name = "b"
host = "lab-2"
profile = "desktop"

[[devices]]
name = "far"
host = "lab-3"
profile = "desktop"

[schedules.smoke]
models = ["gemma-3-270m"]
runtimes = ["wllama/wasm"]
quants = ["int4", "int8", "fp16"]

[retries]
infra = 1
"""


class PretendedLab(Lab):
    """A lab whose jobs are pretended."""

    def start_worker(self, name: str, address: str, prefix: list[str] | None = None) -> None:
        """Start one, and wait until the master has it."""
        pretend = str(Path(__file__).with_name("pretend.py"))
        words = [*(prefix or []), sys.executable, pretend, "worker", name, address]
        self.start(name, [*words, str(self.home(name)), str(LOST_AFTER)], self.home(name))
        wait_for(lambda: self.connected(name), f"{name} is connected")

    def go(self, name: str) -> None:
        """Let the jobs of a worker end."""
        (self.home(name) / "go").touch()

    def begun(self, name: str) -> list[tuple[int, str]]:
        """The jobs that began on a worker: PID and request."""
        path = self.home(name) / "begun"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def running(self, name: str) -> bool:
        """Whether the last job that began on a worker goes on."""
        return bool(self.begun(name)) and psutil.pid_exists(self.begun(name)[-1][0])


@pytest.fixture
def wire() -> Iterator[Cable]:
    with cable(os.getpid() % 250) as one:
        yield one


@pytest.fixture(name="stopped_lab")
def lab_without_a_master(tmp_path: Path, wire: Cable) -> Iterator[PretendedLab]:
    port, web = free_port(wire.here), free_port()
    config = CONFIG.format(bind=wire.here, port=port, web=web, lost_after=LOST_AFTER)
    one = PretendedLab(tmp_path, config, bind=wire.here, port=port, web=web)
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def lab(stopped_lab: PretendedLab) -> PretendedLab:
    stopped_lab.start_master()
    return stopped_lab


def test_every_trial_is_recorded_exactly_once(lab: PretendedLab, wire: Cable) -> None:
    for name, prefix in (("a", None), ("b", None), ("far", wire.prefix)):
        lab.start_worker(name, lab.address, prefix)
    lab.force(schedule="smoke", run_id=RUN)
    wait_for(lambda: all(map(lab.running, ("a", "b", "far"))), "a job runs on each worker")
    with Store.open(lab.results) as store:
        assert progress(store, RUN).requested == 3

    # A cable is cut, nobody is told, and the job at the other end comes to its end.
    wire.cut()
    (_, far_request), *_ = lab.begun("far")
    lab.go("far")
    wait_for(lambda: _records(lab, "far"), "the host that is cut off has its record")
    wait_for(lambda: not lab.connected("far"), "the master misses the worker")

    # A worker is killed in the middle of its job, which ends with it.
    (job, _), *_ = lab.begun("a")
    lab.kill("a")
    wait_for(lambda: not psutil.pid_exists(job), "the job of the killed worker ends")
    wait_for(lambda: lab.told("lost with its worker; queued again"), "the loss is told")

    # The master is killed while a job runs, and starts again.
    lab.kill("master")
    wait_for(lambda: not lab.running("b"), "a job without its master ends")
    lab.start_master()
    wait_for(lambda: lab.running("b"), "the job begins again")

    # What was lost is run by who is left. The far trial is measured a second time.
    lab.go("b")
    wait_for(lambda: _recorded(lab) == 3, "all is recorded")
    assert far_request in {request for _, request in lab.begun("b")}

    # The host comes back and hands over what it has, which is kept aside.
    before = lab.collected("lab-3")
    wire.mend()
    wait_for(lambda: lab.connected("far"), "the far worker is back")
    wait_for(lambda: lab.collected("lab-3") > before, "it hands over")
    wait_for(lab.idle, "the master has nothing more to do")
    with Store.open(lab.results) as store:
        done = progress(store, RUN)
        counted = [one.lineage.request_id for one in store.records() if one.lineage]
    assert (done.recorded, done.superseded, done.missing) == (3, 1, [])
    assert len(counted) == len(set(counted)) == 3

    for words in (
        "the controller starts", "lost with the controller; queued again",
        "worker far on lab-3: disconnected", "try 1 begins on far",
        "try 2 begins on b", "done: recorded",
        "worker far on lab-3: connected",
    ):  # fmt: skip
        assert lab.told(words), words
    # Nothing is sent again: all that a host has is confirmed.
    assert not list((lab.folder / "controller" / "master" / "spool").iterdir())


def test_a_lab_that_fails_again_and_again_gives_up_and_can_be_asked_again(
    lab: PretendedLab,
) -> None:
    lab.start_worker("b", lab.address)
    lab.go("b")
    code = lab.home("b") / "code"
    code.write_text(str(Exit.LAB_FAULT))
    asked = {"schedule": "smoke", "quants": "int8", "run_id": RUN}
    lab.force(**asked)
    wait_for(lambda: lab.told("given-up"), "the job is given up")
    assert lab.told("infra: a fault of the lab's own")
    assert lab.told("tries ended by faults of the lab: 2, and the budget is 1")
    assert len(lab.begun("b")) == 2

    # The same run once more, when the lab is mended: a new budget, and the one trial that is open.
    code.unlink()
    lab.force(**asked)
    wait_for(lambda: _recorded(lab) == 1, "it is recorded")
    wait_for(lab.idle, "the master has nothing more to do")

    # And once more: it has a record, so that nothing runs.
    lab.force(**asked)
    wait_for(lambda: sum("queued now" in e.text for e in lab.journal()) == 3, "a third plan")
    wait_for(lab.idle, "the master has nothing more to do")
    assert len(lab.begun("b")) == 3
    with Store.open(lab.results) as store:
        assert progress(store, RUN).requested == 1


def test_what_is_handed_over_goes_to_influxdb_once_and_the_token_nowhere(
    stopped_lab: PretendedLab, influx: Influx
) -> None:
    lab = stopped_lab
    lab.start_master(
        TIERLAB_INFLUX_URL=influx.url, TIERLAB_INFLUX_ORG=ORG, TIERLAB_INFLUX_TOKEN=TOKEN
    )
    lab.start_worker("b", lab.address)
    lab.go("b")

    # A dead InfluxDB keeps no host from handing over.
    influx.influxd.kill()
    lab.force(schedule="smoke", quants="int8", run_id=RUN)
    wait_for(lambda: _recorded(lab) == 1, "it is recorded")
    wait_for(lab.idle, "the master has nothing more to do")

    # What waited goes with what comes next.
    influx.influxd.start()
    lab.force(schedule="smoke", quants="fp16", run_id=RUN)
    wait_for(lambda: _recorded(lab) == 2, "the next is recorded")
    wait_for(lambda: len(_sent(influx)) == 2, "both are sent")
    with Store.open(lab.results) as store:
        assert _sent(influx) == sorted(record.trial_id for record in store.records())
    lab.processes["master"].terminate()
    lab.processes["master"].wait(30)
    files = [file for file in lab.folder.rglob("*") if file.is_file()]
    assert any(file.name == "twistd.log" for file in files)
    assert not [file for file in files if TOKEN.encode() in file.read_bytes()]


def _sent(influx: Influx) -> list[str]:
    return sorted(row["trial_id"] for row in influx.query('SELECT "trial_id" FROM "trial"'))


def _records(lab: PretendedLab, name: str) -> int:
    with Store.open(lab.home(name) / "results") as store:
        return len(store.records())


def _recorded(lab: PretendedLab) -> int:
    with Store.open(lab.results) as store:
        return progress(store, RUN).recorded
