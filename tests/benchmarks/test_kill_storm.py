"""The plan of a storm, who is who, and that what is lost or left is found."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from typing import TYPE_CHECKING, cast

import psutil
import pytest

from benchmarks.kill_storm.crowd import target_of
from benchmarks.kill_storm.ledger import Ledger, damaged, unfulfilled, untrue
from benchmarks.kill_storm.leftovers import Ground, leftovers
from benchmarks.kill_storm.plan import FLEET, ONE_HOST, Kill, Target, plan
from benchmarks.kill_storm.storm import storm
from harness.devices.lease import lease
from results.fleet.events import Event, EventKind, add_events
from results.fleet.requests import Request, add_requests
from results.record import Lineage, Record, Verdict
from results.store import Store
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.kill_storm.crowd import Crowd

RUN = "run-1"


def test_a_seed_is_a_plan() -> None:
    assert plan(7, ONE_HOST, 60, 20.0) == plan(7, ONE_HOST, 60, 20.0)
    assert plan(7, ONE_HOST, 60, 20.0) != plan(8, ONE_HOST, 60, 20.0)


@pytest.mark.parametrize("targets", [ONE_HOST, FLEET])
def test_no_kind_is_left_out(targets: tuple[Target, ...]) -> None:
    kills = plan(1, targets, 40, 20.0)
    counts = Counter(kill.target for kill in kills)
    assert set(counts) == set(targets)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(0 <= kill.after <= 20 and kill.choose(3) in range(3) for kill in kills)


@pytest.mark.parametrize(
    ("words", "target"),
    [
        (["/usr/bin/python", "-m", "pytest", "suites", "-n", "auto"], Target.CONTROLLER),
        (["python", "-u", "-c", "import sys;exec(eval(sys.stdin.readline()))"], Target.XDIST),
        (["/opt/chromium/chrome", "--type=renderer"], Target.BROWSER),
        (["python", "-P", "-m", "harness.emulation.phone"], Target.PHONE),
        (["/opt/adb", "-P", "1", "nodaemon", "server"], Target.ADB),
        (["/opt/adb", "-P", "1", "connect", "127.0.0.1:9"], None),
        (["python", "-m", "harness.fleet", "job", "--request={}"], Target.JOB),
        (["python", "-m", "harness.fleet", "receive", "x"], Target.STORE),
        (["python", "-m", "harness.fleet", "wanted", "x"], None),
        (["python", "-m", "harness.cli", "fleet", "worker", "--name", "a"], Target.WORKER),
        (["python", "/bin/buildbot", "start", "--nodaemon", "m"], Target.MASTER),
        ([], None),
    ],
)
def test_who_is_who(words: list[str], target: Target | None) -> None:
    assert target_of(words) == target


def _asked(store: Store) -> Request:
    store.start_run(RUN, "a test")
    request = Request.of(RUN, "desktop", record("one", RUN).workload)
    add_requests(store, [request])
    return request


def _fulfilling(request: Request, trial: str) -> Record:
    lineage = Lineage(request_id=request.request_id, attempt_id="a", number=1)
    return record(trial, RUN).model_copy(update={"lineage": lineage})


def test_a_lost_trial_is_found(tmp_path: Path) -> None:
    ledger = Ledger()
    with Store.open(tmp_path / "host") as store:
        store.add(_fulfilling(_asked(store), "one"))
    ledger.read([tmp_path / "host", tmp_path / "nothing"])
    with Store.open(tmp_path / "controller") as store:
        request = _asked(store)
        assert ledger.lost(tmp_path / "controller") == [
            f"trial one, seen in {tmp_path / 'host'}, is lost"
        ]
        store.add(_fulfilling(request, "two"))
        store.add(_fulfilling(request, "one"))  # it is set aside
    assert ledger.lost(tmp_path / "controller") == []


def test_an_open_request_is_found(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        request = _asked(store)
        assert unfulfilled(tmp_path, [RUN]) == [
            f"{RUN}: request {request.request_id} has 0 records that count"
        ]
        store.add(_fulfilling(request, "one"))
    assert unfulfilled(tmp_path, [RUN]) == []
    assert unfulfilled(tmp_path, ["other"]) == ["other: nothing was requested"]


def test_a_load_that_is_called_impossible_is_found(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        made = record("one", RUN)
        store.start_run(RUN, "a test")
        store.add(made)
        store.add(record("two", RUN).model_copy(update={"verdict": Verdict.UNSUPPORTED}))
    (line,) = untrue(tmp_path, made.workload.runtime)
    assert line.startswith("trial two: unsupported: ")


def test_an_event_that_is_told_twice_is_found(tmp_path: Path) -> None:
    event = Event.now(EventKind.JOB, "it begins")
    with Store.open(tmp_path) as store:
        add_events(store, event)
        assert damaged([tmp_path]) == []
        add_events(store, event.model_copy(update={"event_id": "another"}))
    (line,) = damaged([tmp_path])
    assert "2 times in the journal" in line


def test_what_is_left_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    for name in ("tmp", "cache", "results"):
        (tmp_path / name).mkdir()
    ground = Ground(
        tmp_path, [tmp_path / "state"], tmp_path / "cache", tmp_path / "tmp", [tmp_path / "results"]
    )
    with lease("machine", owner="a test"):
        (tmp_path / "tmp" / "half").touch()
        (tmp_path / "cache" / ".partial-x-1-0123abcd").mkdir()
        found = leftovers(ground, list)
    assert [line.replace(str(tmp_path), "") for line in found] == [
        "note on a lease /state/leases/machine.json",
        "lock /state/leases/machine.lock",
        "file /cache/.partial-x-1-0123abcd",
        "file /tmp/half",
    ]
    (tmp_path / "tmp" / "half").unlink()
    (tmp_path / "cache" / ".partial-x-1-0123abcd").rmdir()
    assert leftovers(ground, list) == []


class Stage:
    """A scene with one process, which is a browser."""

    def __init__(self, folder: Path) -> None:
        self.results = [folder]
        self.runs: list[str] = []
        self.problems: list[str] = []
        self.tended = 0
        self.process = subprocess.Popen(["sleep", "60"])

    def tend(self) -> None:
        self.tended += 1

    def servants(self) -> set[int]:
        return {self.process.pid}

    def of(self, target: Target) -> list[psutil.Process]:
        alive = target is Target.BROWSER and self.process.poll() is None
        return [psutil.Process(self.process.pid)] if alive else []

    def reap(self, _: set[int]) -> None:
        self.process.poll()


def test_where_nobody_of_a_kind_comes_the_next_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.kill_storm.storm._PATIENCE_SECONDS", 0.1)
    kills = [Kill(1, Target.PHONE, 0.0, 0.5), Kill(2, Target.BROWSER, 0.0, 0.5)]
    stage = Stage(tmp_path)
    said: list[str] = []
    deaths = storm(
        stage, cast("Crowd", stage), kills, Ledger(), until=time.monotonic() + 2, say=said.append
    )
    assert stage.process.wait(10) == -signal.SIGKILL
    assert [kill.number for kill, _, _ in deaths.killed] == [2]
    assert deaths.missed == kills[:1]
    assert said[-1] == "nobody came for 1: virtual phone"
    assert stage.tended
