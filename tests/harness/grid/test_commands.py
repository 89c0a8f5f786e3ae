"""`tierlab lab-matrix` as it is called, on the real browser with a tiny model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from filelock import FileLock

from harness.cli import main
from harness.models import MODELS, tiny
from results.record import Record, Verdict
from results.store import Store
from tests.results.records import record

if TYPE_CHECKING:
    from collections.abc import Iterator

TINY = tiny(MODELS["gemma-3-270m"])
WITHIN_SECONDS = 120.0

PLAN = f"""
name = "tiny"
[[groups]]
devices = ["{{device}}"]
models = ["{TINY.id}"]
quantisations = ["q8_0"]
runtimes = ["wllama/wasm"]
prompt_tokens = 4
output_tokens = 4
repeats = 2
seconds = 8
"""

# A grid in a process of its own that knows the tiny model, as a shell starts it in the background.
PROGRAM = """
import signal, sys
from harness.cli import main
from harness.models import MODELS, tiny
signal.signal(signal.SIGINT, signal.SIG_IGN)
model = tiny(MODELS["gemma-3-270m"])
MODELS[model.id] = model
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan of two trials, with a state and a cache of its own."""
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODELS, TINY.id, TINY)
    path = tmp_path / "plan.toml"
    path.write_text(PLAN.format(device="desktop"))
    return path


def call(plan: Path, *more: str) -> int:
    results = plan.parent / "results"
    return main(["lab-matrix", f"--plan={plan}", f"--results={results}", *more])


def stored(plan: Path) -> list[Record]:
    with Store.open(plan.parent / "results") as store:
        return store.records(run_id="tiny")


def keep(plan: Path, *records: Record) -> None:
    with Store.open(plan.parent / "results") as store:
        store.start_run("tiny", "a test")
        for one in records:
            store.add(one)


def result(number: int, verdict: Verdict = Verdict.OK, **changes: object) -> Record:
    """A record of the plan's only cell."""
    whole = record(f"t{number}", "tiny", verdict=verdict, **changes)
    asked = {
        "model": TINY.id,
        "quantisation": "q8_0",
        "runtime": "wllama/wasm",
        "prompt_tokens": 4,
        "output_tokens": 4,
    }
    return whole.model_copy(update={"workload": whole.workload.model_copy(update=asked)})


def test_a_dry_run_tells_what_is_left_and_touches_nothing(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(plan, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "tiny: 1 cells on 1 devices (0 virtual phones), 1 models, 1 runtimes" in said
    assert "2 trials, 0 of them done or left out; about 16 s to go" in said
    assert not (plan.parent / "results").exists()
    keep(plan, result(1), result(2, Verdict.INFRA))
    assert call(plan, "--dry-run") == 0
    assert "2 trials, 1 of them done or left out; about 36 s to go" in capsys.readouterr().out


def test_model_files_are_written_once(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(plan, "--prepare") == 0
    assert "writing" in capsys.readouterr().out
    assert call(plan, "--prepare") == 0
    said = capsys.readouterr().out
    assert "writing" not in said
    assert "1 model files" in said


def test_nothing_is_left_to_do_where_all_is_done(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(plan, result(1), result(2, Verdict.OOM))
    assert call(plan) == 0
    said = capsys.readouterr().out
    assert "tiny: 0 trials" in said
    assert "2 records of 1 cells" in said


def test_records_are_exported_in_compact_form(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(plan, result(1), result(2, Verdict.INFRA), result(3, Verdict.OOM))
    target = tmp_path / "trials.jsonl"
    assert call(plan, f"--export={target}") == 0
    lines = target.read_text("utf-8").splitlines()
    assert [Record.model_validate_json(line).trial_id for line in lines] == ["t1", "t3"]
    assert "2 records" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.glob(".partial*")) == []


def test_what_the_plan_no_longer_has_is_not_exported(plan: Path, tmp_path: Path) -> None:
    asked = result(2).workload.model_copy(update={"output_tokens": 999})
    keep(plan, result(1), result(2).model_copy(update={"workload": asked}))
    target = tmp_path / "trials.jsonl"
    assert call(plan, f"--export={target}") == 0
    [line] = target.read_text("utf-8").splitlines()
    assert Record.model_validate_json(line).trial_id == "t1"


def test_what_cannot_be_done_is_told(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(plan, "--export=x.jsonl") == 1
    assert "no records yet" in capsys.readouterr().err
    assert call(plan, "--only=pixel7", "--dry-run") == 1
    assert "'pixel7' is not in the plan" in capsys.readouterr().err
    assert call(plan, "--name=../x", "--dry-run") == 1
    assert "cannot be a grid's name" in capsys.readouterr().err
    for wrong in ("--limit=0", "--minutes=0", "--minutes=nan", "--minutes=x"):
        with pytest.raises(SystemExit):
            call(plan, wrong)


@pytest.mark.integration
def test_a_grid_is_run_and_gone_on_with(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(plan, "--limit=1", "--rest=1", "--probe-budget=200") == 0
    (first,) = stored(plan)
    assert first.verdict is Verdict.OK, first.explanation
    assert first.probe is not None
    assert call(plan, "--rest=1", "--probe-budget=200") == 0
    said = capsys.readouterr().out
    assert said.count("tiny: 1 trials") == 2
    one, two = stored(plan)
    assert one == first
    assert two.verdict is Verdict.OK, two.explanation
    assert two.probe != one.probe  # each has its own


class Grid:
    """A grid in a process of its own, whose log is read as it is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "plan.toml").write_text(PLAN.format(device="desktop-2g"))
        (folder / "results").mkdir()
        log = folder / "results" / "tiny.log"
        os.mkfifo(log)
        # With a writer of the test's own, opening it waits for nobody, and it ends when that says.
        reading = os.open(log, os.O_RDONLY | os.O_NONBLOCK)
        self._writing = os.open(log, os.O_WRONLY)
        os.set_blocking(reading, True)
        self._log = os.fdopen(reading, encoding="utf-8")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", PROGRAM, "lab-matrix", f"--plan={folder / 'plan.toml'}"),
                *(f"--results={folder / 'results'}", "--rest=1", "--probe-budget=200"),
            ],
            env={
                **os.environ,
                "TIERLAB_STATE": str(folder / "state"),
                "TIERLAB_CACHE": str(folder / "cache"),
            },
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # A grid that says nothing more must not keep the test waiting.
        self._alarm = threading.Timer(WITHIN_SECONDS, self.process.kill)
        self._alarm.start()
        self._ended = threading.Thread(target=self._close_when_it_ends)
        self._ended.start()
        self.said = ""
        self.family: list[psutil.Process] = []

    def _close_when_it_ends(self) -> None:
        self.process.wait()
        os.close(self._writing)

    def until(self, words: str) -> None:
        """Follow its log until it says that; note the processes that it has then."""
        for line in self._log:
            self.said += line
            if words in line:
                self.family = psutil.Process(self.process.pid).children(recursive=True)
                return
        pytest.fail(f"it ended before {words!r}:\n{self.said}")

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; the exit code, and what it said."""
        self.process.send_signal(number)
        self.said += self._log.read()
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        return self.process.wait(WITHIN_SECONDS), said

    def left(self) -> list[str]:
        """What is still there of it, in words."""
        _, alive = psutil.wait_procs(self.family, timeout=10)
        found = [f"process {p.pid}" for p in alive if p.status() != psutil.STATUS_ZOMBIE]
        found += [
            f"group {note.name}" for note in (self.folder / "state" / "groups").rglob("*.json")
        ]
        found += [str(path) for path in (self.folder / "cache").glob(".partial-*")]
        for lease in (self.folder / "state" / "leases").glob("*.lock"):
            with FileLock(lease, timeout=0):
                pass
        return found + [str(p) for p in (self.folder / "state" / "leases").glob("*.json")]

    def close(self) -> None:
        """End whatever the test left running."""
        self._alarm.cancel()
        self.process.kill()
        self._ended.join()
        self._log.close()
        if self.process.stdout:
            self.process.stdout.close()


@pytest.fixture
def grid(tmp_path: Path) -> Iterator[Grid]:
    grid = Grid(tmp_path)
    yield grid
    grid.close()


@pytest.mark.integration
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_grid_leaves_nothing_behind(grid: Grid, number: signal.Signals) -> None:
    grid.until(": create")
    assert grid.family
    assert list((grid.folder / "state" / "groups").rglob("*.json"))
    code, said = grid.end(number)
    assert code == 130, grid.said
    assert "interrupted; 2 trials not run, 0 without a result" in said
    assert grid.left() == []
    with Store.open(grid.folder / "results") as store:
        assert store.records(run_id="tiny") == []
