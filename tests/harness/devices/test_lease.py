from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.devices.lease import Held, Holder, holder, holders, lease, sweep
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[str]]

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from harness.devices.lease import Held, Holder, holder, holders, lease
with lease("machine", owner=sys.argv[1], wait_seconds=30, on_wait=lambda s: print(s, flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path))
    return tmp_path / "leases"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a process that takes the lease and holds it until its stdin ends."""
    started: list[subprocess.Popen[str]] = []

    def hold(owner: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        started.append(process)
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_lease_leaves_no_note(state: Path) -> None:
    with lease("machine", owner="me"):
        assert str(os.getpid()) in (state / "machine.json").read_text()
    assert sorted(path.name for path in state.iterdir()) == ["machine.lock", "machine.token"]


def test_a_sweep_removes_the_notes_of_killed_holders(state: Path, start: Start) -> None:
    killed = start("a run")
    assert line(killed) == "held"
    killed.kill()
    killed.wait()
    (state / ".machine.json.0123abcd.partial").touch()
    with lease("phone-127.0.0.1_5555", owner="me"):
        sweep()
        assert sorted(path.name for path in state.iterdir()) == [
            "machine.lock", "machine.token", "phone-127.0.0.1_5555.json",
            "phone-127.0.0.1_5555.lock", "phone-127.0.0.1_5555.token",
        ]  # fmt: skip


def test_a_lease_is_given_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), lease("machine", owner="me"):
        raise ZeroDivisionError
    with lease("machine", owner="me again", wait_seconds=0):
        pass


def test_the_second_waits_for_the_first(start: Start) -> None:
    first = start("first")
    assert line(first) == "held"
    second = start("second")
    waits = line(second)
    assert waits.startswith(f"waiting for machine: held by first (process {first.pid}, since ")
    first.communicate()  # ends its stdin, hence its lease
    assert line(second) == "held"


def test_a_killed_holder_holds_nothing(start: Start) -> None:
    first = start("first")
    assert line(first) == "held"
    second = start("second")
    assert "held by first" in line(second)
    first.kill()
    assert line(second) == "held"


def test_who_waits_too_long_is_told_who_holds_it(start: Start) -> None:
    first = start("a long run")
    assert line(first) == "held"
    told: list[str] = []
    with (
        pytest.raises(
            UserError, match=rf"in use by a long run \(process {first.pid}, .* stayed so"
        ),
        lease("machine", owner="me", wait_seconds=0.1, on_wait=told.append),
    ):
        raise AssertionError("it was free")
    assert len(told) == 1
    assert "a long run" in told[0]


def test_other_resources_are_free(start: Start) -> None:
    assert line(start("first")) == "held"
    with lease("a-phone", owner="me", wait_seconds=0, on_wait=pytest.fail):
        pass


@pytest.mark.parametrize("note", ["", "{", "[]", '{"owner": "x"}', "\udcff"])
def test_a_note_that_cannot_be_read_is_another_process(
    start: Start, state: Path, note: str
) -> None:
    assert line(start("first")) == "held"
    (state / "machine.json").write_text(note, errors="surrogateescape")
    with (
        pytest.raises(UserError, match="in use by another process"),
        lease("machine", owner="me", wait_seconds=0),
    ):
        raise AssertionError("it was free")


# ---- who holds what ----


def test_a_holder_is_seen_while_it_holds_and_no_longer() -> None:
    assert holder("machine") is None
    assert holders() == []
    with lease("machine", owner="run 7", run_id="7") as held:
        seen = holder("machine")
        assert seen is not None
        assert (seen.owner, seen.pid, seen.run_id) == ("run 7", os.getpid(), "7")
        assert Held(seen.resource, seen.token or 0) == held
        with lease("phone-1", owner="me"):
            assert [found.resource for found in holders()] == ["machine", "phone-1"]
    assert holder("machine") is None
    assert holders() == []


def test_the_note_of_a_killed_holder_says_nothing(start: Start, state: Path) -> None:
    first = start("first")
    assert line(first) == "held"
    assert holder("machine") is not None
    first.kill()
    first.wait()
    assert (state / "machine.json").exists()
    assert holder("machine") is None


@pytest.mark.parametrize("note", ["{", '{"resource": "another", "owner": "x"}'])
def test_a_holder_without_a_note_of_its_own(state: Path, note: str) -> None:
    with lease("machine", owner="me"):
        (state / "machine.json").write_text(note)
        assert holder("machine") == Holder(resource="machine")
    assert str(Holder(resource="machine")) == "another process"


def test_to_look_at_a_lease_does_not_get_in_the_way_of_taking_it() -> None:
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            holders()

    with lease("machine", owner="so that there is something to look at"):
        pass
    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(30):
            with lease("machine", owner="me", wait_seconds=5):
                pass
    finally:
        over.set()
        for watcher in watchers:
            watcher.join()


# ---- several resources ----


def test_the_first_that_is_free_is_taken_and_what_is_passed_over_is_told(start: Start) -> None:
    first = start("first")
    assert line(first) == "held"
    told: list[str] = []
    with lease("machine", "phone-1", "phone-2", owner="me", on_wait=told.append) as held:
        assert held.resource == "phone-1"
    assert len(told) == 1
    assert told[0].startswith(
        f"taking phone-1, since machine: held by first (process {first.pid}, since "
    )


def test_whichever_becomes_free_first_is_taken(start: Start) -> None:
    first = start("first")
    assert line(first) == "held"
    with lease("phone-1", owner="me"):
        told: list[str] = []

        def end_the_second(text: str) -> None:
            told.append(text)
            first.kill()

        with lease("phone-1", "machine", owner="me too", on_wait=end_the_second) as held:
            assert held.resource == "machine"
    assert len(told) == 1
    assert told[0].startswith("waiting for phone-1: held by me (process")
    assert "; machine: held by first" in told[0]


# ---- the number of a lease ----


def test_each_lease_of_a_resource_has_a_number_of_its_own() -> None:
    tokens = []
    for _ in range(3):
        with lease("machine", owner="me") as held:
            tokens.append(held.token)
    with lease("phone-1", owner="me") as other:
        pass
    assert tokens == [1, 2, 3]
    assert other.token == 1


STORM = """
import os, random, signal, sys, time
from harness.devices.lease import lease

def lease_for_ever():
    while True:
        with lease("machine", owner="x", wait_seconds=30) as held:
            os.write(1, f"{held.token}\\n".encode())

chance = random.Random(7)
for _ in range(20):
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            lease_for_ever()
        children.append(child)
    time.sleep(chance.uniform(0.01, 0.08))
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
"""


def test_numbers_only_grow_whenever_the_holders_are_killed(state: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORM], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT
    )
    seen = [int(word) for word in done.stdout.split()]
    assert len(seen) > 20
    assert seen == sorted(set(seen))
    assert holder("machine") is None
    with lease("machine", owner="me", wait_seconds=0) as held:
        assert held.token > max(seen)
    assert list(state.glob(".*")) == []


def test_a_number_that_is_lost_is_not_started_again_at_one(state: Path) -> None:
    with lease("machine", owner="me"):
        pass
    (state / "machine.token").write_text("\x00\x00")
    with (
        pytest.raises(UserError, match=r"machine\.token holds no number") as error,
        lease("machine", owner="me", wait_seconds=0),
    ):
        raise AssertionError("what is its number?")
    assert "higher" in error.value.next_step
    assert holder("machine") is None


# ---- children ----


def test_a_program_that_outlives_its_owner_keeps_no_lease() -> None:
    script = """
import subprocess, sys, os, signal
from harness.devices.lease import lease
with lease("machine", owner="x"):
    child = subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print(child.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False, cwd=ROOT
    )
    child = int(done.stdout)
    try:
        with lease("machine", owner="me", wait_seconds=0):
            os.kill(child, 0)  # it still runs
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_fork_neither_keeps_a_lease_nor_ends_it() -> None:
    script = """
import os, signal, sys
from harness.devices.lease import holder, lease
with lease("machine", owner="x"):
    leaves = os.fork()
    if leaves == 0:
        sys.exit()  # runs the end of the block
    os.waitpid(leaves, 0)
    print(holder("machine").owner, flush=True)
    stays = os.fork()
    if stays == 0:
        signal.pause()
    print(stays, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert line(process) == "x"
    child = int(line(process))
    try:
        process.wait()
        with lease("machine", owner="me", wait_seconds=0):
            os.kill(child, 0)  # it still runs
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()
