"""A run that is ended from outside leaves its finished records, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import psutil
import pytest
from filelock import FileLock

from harness.checkout import SUITES
from harness.emulation.phone.records import claim
from harness.laboratory import Laboratory, LaboratorySettings
from harness.trial import TrialSettings
from results.record import Verdict
from results.store import Store
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.integration

# The smallest model of the catalogue (205 MB), and a probe as short as it may be.
OPTIONS = ("--model=gemma-3-270m", "--probe-budget=200", "-k", "gives_a_verdict")
WITHIN_SECONDS = 60.0


# Who starts the tests in the background leaves SIGINT ignored for all that they start.
LISTENING = """
import signal, sys, pytest
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(pytest.main(sys.argv[1:]))
"""


class Run:
    """A `pytest suites` of its own, with its own state, cache and results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self._family: dict[int, psutil.Process] = {}
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LISTENING, SUITES, "-p", "no:cacheprovider", *OPTIONS),
                *("--device=desktop-2g", f"--results={self.results}"),
            ],
            cwd=SUITES.parent,
            env={
                **os.environ,
                "TIERLAB_STATE": str(folder / "state"),
                "TIERLAB_CACHE": str(folder / "cache"),
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        # A run that says nothing more must not keep the test waiting.
        self._alarm = threading.Timer(WITHIN_SECONDS, self._process.kill)
        self._alarm.start()
        self.said = ""

    def until(self, words: str) -> None:
        """Follow what it says, until it says that."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said += line
            if words in line:
                self._look()
                return
        pytest.fail(f"it ended before {words!r}:\n{self.said}")

    def _look(self) -> None:
        """Note the processes that it has now, browser and driver included."""
        main = psutil.Process(self._process.pid)
        self._family = {child.pid: child for child in main.children(recursive=True)}

    def end(self, number: signal.Signals, *, whole_group: bool = False) -> int:
        """Send a signal, to all as a terminal does or to pytest alone; the exit code."""
        if whole_group:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        assert self._process.stdout is not None
        if number != signal.SIGKILL:
            self.said += self._process.stdout.read()
        return self._process.wait(WITHIN_SECONDS)

    @property
    def groups(self) -> list[Path]:
        """The notes on groups that were made and not removed."""
        return list((self.folder / "state" / "groups").rglob("*.json"))

    def left(self) -> list[str]:
        """What is still there of it, in words."""
        _, alive = psutil.wait_procs(list(self._family.values()), timeout=10)
        found = [f"process {p.pid}" for p in alive if p.status() != psutil.STATUS_ZOMBIE]
        found += [f"group {note.name}" for note in self.groups]
        found += [str(path) for path in (self.folder / "cache").glob(".partial-*")]
        for lease in (self.folder / "state" / "leases").glob("*.lock"):
            with FileLock(lease, timeout=0):
                pass
        found += [str(note) for note in (self.folder / "state" / "leases").glob("*.json")]
        return found

    def close(self) -> None:
        """End whatever the test left running."""
        self._alarm.cancel()
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    run = Run(tmp_path)
    yield run
    run.close()
    _clear(run)


def _clear(run: Run) -> list[str]:
    """What the next start says that it cleared."""
    said: list[str] = []
    trial = TrialSettings(run_id="next", results=run.results)
    with Laboratory(LaboratorySettings(trial), said.append):
        pass
    return said


def test_an_interrupt_while_the_model_file_is_written(run: Run) -> None:
    run.until("making the model file")
    assert run.end(signal.SIGINT) == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in run.said
    assert run.left() == []
    assert list((run.folder / "cache").glob("gemma*")) == []


def test_an_interrupt_of_the_terminal_while_the_model_is_loaded(run: Run) -> None:
    run.until(": create")
    assert run._family
    assert run.groups
    assert run.end(signal.SIGINT, whole_group=True) == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in run.said
    assert run.left() == []


def test_the_next_start_clears_what_a_killed_run_left(run: Run) -> None:
    run.until(": create")
    with Store.open(run.results) as store:  # as if it had finished a trial before this one
        (run_id,) = store._connection.execute("SELECT run_id FROM runs").fetchone()
        store.add(record("finished", run_id))
    assert run.end(signal.SIGKILL) == -signal.SIGKILL
    (run.folder / "cache" / ".partial-gemma-3-270m-x-1-0123abcd").mkdir()
    assert run.groups
    said = _clear(run)
    assert [line.split(":")[0] for line in said] == ["cleared what a killed run left"]
    assert run.left() == []
    with Store.open(run.results) as store:
        assert [r.verdict for r in store.records(run_id=run_id)] == [Verdict.OK]


def test_a_run_without_phones_clears_what_a_killed_phone_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    phone = claim("pixel7-0123abcd", tmp_path)
    (phone.folder / "data").mkdir()
    phone.lock.release()  # as its end does, however it comes
    said: list[str] = []
    trial = TrialSettings(run_id="next", results=tmp_path / "results")
    with Laboratory(LaboratorySettings(trial), said.append):
        assert not phone.folder.exists()
        assert not phone.note.exists()
    assert said == ["cleared what a killed run left: pixel7-0123abcd"]
