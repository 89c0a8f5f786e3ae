from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness import learning_commands
from harness.cli import main
from harness.learning_commands import beliefs, with_conditions
from harness.observing import observe
from results.calibration import read_calibration
from results.evaluation.figures import Evaluation
from results.features.rows import read_rows
from results.observation import Quantity
from results.store import Store
from tests.results.records import record
from tests.results.worlds import DEVICES, World

if TYPE_CHECKING:
    from results.observation import Observation
    from results.record import Record

ROOT = Path(__file__).parents[2]
WORLD = {o.trial_id: o for o in World(noise=0.02, repeats=1).observations()}


@pytest.fixture(autouse=True)
def _synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are seen as the trials of a world that is known."""

    def look_up(trial: Record) -> Observation | None:
        return WORLD.get(trial.trial_id)

    monkeypatch.setattr(learning_commands, "observe", look_up)
    # Tables are folded to the terminal.
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.jsonl"
    lines = [record(trial_id=trial).model_dump_json() for trial in [*WORLD, "nothing to learn"]]
    path.write_text("\n".join(lines) + "\n\n")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = tmp_path / "results"
    with Store.open(where) as store:
        for number, trial in enumerate(WORLD):
            run = f"run-{number % 2}"
            store.start_run(run, "test")
            store.add(record(trial_id=trial, run_id=run))
    return where


def test_accuracy_of_files(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A trial in two files is one.
    assert main(["accuracy", "--records", str(records), str(records)]) == 0
    out = capsys.readouterr().out
    assert f"{len(WORLD)} trusted trials" in out
    assert "What must hold" in out


def test_accuracy_of_a_results_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accuracy", "--results", str(folder), "--by", "model", "--history"]) == 0
    assert f"{len(WORLD)} trusted trials" in capsys.readouterr().out


def test_a_run_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["accuracy", "--results", str(folder), "--run", "run-1"]) == 0
    assert f"{len(WORLD) // 2} trusted trials" in capsys.readouterr().out


def test_calibrate(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "calibration.json"
    assert main(["calibrate", "--records", str(records), "--output", str(path)]) == 0
    found = read_calibration(path)
    assert found.training.trials == len(WORLD)
    # What the world does not say comes from the record.
    assert found.training.newest == "2026-01-01"
    assert "wllama/wasm" in capsys.readouterr().out


def test_features_are_exported_and_searched(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "features.jsonl"
    assert main(["features", "export", str(path), "--records", str(records)]) == 0
    assert len(path.read_text().splitlines()) == len(WORLD)
    capsys.readouterr()
    words = ["features", "neighbours", DEVICES[2].name, "--records", str(records), "-k", "2"]
    assert main([*words, "--database", str(path)]) == 0
    out = capsys.readouterr().out
    # The same but for its memory, which the probe's kernels do not tell.
    assert DEVICES[2].name not in out
    assert len([line for line in out.splitlines() if line.startswith("device-")]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["accuracy", "--results", "{}/nowhere"], "there are no results here"),
        (["accuracy", "--records", "{}/nothing.jsonl"], "cannot be read"),
        (["accuracy", "--records", "{}/bad.jsonl"], "line 1 is no record"),
        (["calibrate", "--records", "{}/empty.jsonl"], "nothing can be learned"),
        (["calibrate", "--records", "{}/few.jsonl"], "a calibration needs 10"),
        (["features", "neighbours", "x", "--records", "{}/few.jsonl"], "unknown device 'x'"),
    ],
)
def test_errors_name_the_thing_and_the_next_step(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.jsonl").write_text(json.dumps({"schema_version": 99}) + "\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "few.jsonl").write_text(record(trial_id=next(iter(WORLD))).model_dump_json())
    assert main([word.format(tmp_path) for word in words]) == 1
    err = capsys.readouterr().err
    assert message in " ".join(err.split())
    assert "->" in err


def test_what_it_ran_on_comes_from_the_record() -> None:
    blank = World(
        repeats=1, changes={"day": "", "processor": "", "browser": "", "adapter": "", "cores": None}
    ).observations()[0]
    info = {"vendor": "maker", "architecture": "kind", "device": 3}
    trial = record(probe={"backends": {"webgpu": {"adapter": {"info": info}}}})
    found = with_conditions(blank, trial)
    assert found.day == "2025-01-02"
    assert found.processor == "a processor"
    assert found.browser == "chromium 140"
    assert found.adapter == "maker kind"
    assert found.cores == 2.0
    assert with_conditions(found, record()) == found
    assert with_conditions(blank, record(probe={"backends": []})).adapter == ""


def test_every_engine_has_beliefs_to_start_from() -> None:
    found = beliefs()
    assert {key.split(":")[0] for key in found} >= {"wllama/wasm", "litert-lm/webgpu"}
    assert all(
        factor >= 0
        for recipe in found.values()
        for factors in recipe.values()
        for factor in factors.values()
    )


def test_recorded_trials_can_be_evaluated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(learning_commands, "observe", observe)
    path = ROOT / "benchmarks" / "trials" / "nvidia-h200.jsonl"
    count, trials = len(path.read_text().splitlines()), ["--records", str(path)]
    assert main(["accuracy", *trials, "--history", "--json", str(tmp_path / "a.json")]) == 0
    found = Evaluation.model_validate_json((tmp_path / "a.json").read_text())
    assert 0 < found.training.trials <= count
    assert main(["features", "export", str(tmp_path / "f.jsonl"), *trials]) == 0
    text = (tmp_path / "f.jsonl").read_text()
    assert len(text.splitlines()) == found.training.trials
    assert '"adapter":"nvidia"' in text
    assert "Mozilla" not in text
    capsys.readouterr()
    path = tmp_path / "calibration.json"
    assert main(["calibrate", *trials, "--output", str(path)]) == 0
    assert read_calibration(path).fit("mediapipe/webgpu:gpu", Quantity.DECODE) is not None


def test_features_have_what_the_calibration_says(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, exported = tmp_path / "calibration.json", tmp_path / "features.jsonl"
    monkeypatch.setattr(learning_commands, "CALIBRATION", path)
    words = ["features", "export", str(exported), "--records", str(records)]
    assert main(words) == 0
    assert not any(row.expected for row in read_rows(exported))
    assert main(["calibrate", "--records", str(records), "--output", str(path)]) == 0
    assert main(words) == 0
    for row in read_rows(exported):
        assert row.expected.keys() == row.measured.keys()
        for quantity, value in row.measured.items():
            assert row.expected[quantity] == pytest.approx(value, rel=0.2)
