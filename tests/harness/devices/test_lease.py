from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.devices.lease import lease
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Start = Callable[..., subprocess.Popen[str]]

ROOT = Path(__file__).parents[3]
HOLD = """
import sys
from harness.devices.lease import lease
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
    assert not (state / "machine.json").exists()


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
