from __future__ import annotations

import argparse
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from results.calibration import Calibration, read_calibration
from results.errors import StoreError
from results.evaluation.commands import accuracy, calibrate
from results.evaluation.figures import Evaluation
from results.evaluation.printing import END, START, write_markdown
from tests.results.worlds import World

if TYPE_CHECKING:
    from pathlib import Path

    from results.observation import Observation

WORLD = World(noise=0.02, repeats=1).observations()


def run(observations: list[Observation] = WORLD, **changes: Any) -> tuple[int, str, str]:
    """The exit code, and what was printed to both."""
    what: dict[str, Any] = {
        "by": "runtime", "json": None, "markdown": None, "pictures": None, "check": False,
        "history": False,
    }  # fmt: skip
    out, err = (Console(file=io.StringIO(), width=100) for _ in range(2))
    code = accuracy(out, err, observations, argparse.Namespace(**{**what, **changes}))
    printed = [console.file.getvalue() for console in (out, err)]  # type: ignore[attr-defined]
    return code, printed[0], printed[1]


@pytest.mark.parametrize("by", ["runtime", "device", "model"])
def test_tables_fit_a_hundred_columns(by: str) -> None:
    code, out, err = run(by=by, history=True)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    for title in (
        "Errors, device class left out",
        "Errors, model left out",
        "Tiers and whether it runs",
        "Whether it runs at all",
        "Errors of simpler rules",
        "Errors without a term",
        "What it takes to know",
        "With what was measured before",
        "What must hold",
    ):
        assert title in out
    assert {"runtime": "wllama/wasm", "device": "device-0.5-4g", "model": "middle"}[by] in out


def test_what_does_not_hold_is_named(tmp_path: Path) -> None:
    loud = World(noise=0.5, repeats=1).observations()
    code, _, err = run(loud, check=True)
    assert code == 1
    assert "does not hold: decode, wllama/wasm: " in err
    assert "must be median <= 7 %, p90 <= 20 %" in err
    assert run(loud)[0] == 0
    assert not list(tmp_path.iterdir())


def test_everything_can_be_written(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    where = tmp_path / "docs" / "accuracy.md"
    where.parent.mkdir()
    where.write_text(f"# Title\n\nbefore\n\n{START}\nearlier figures\n{END}\n\nafter\n")
    figures = tmp_path / "figures" / "accuracy.json"
    run(json=figures, markdown=where, pictures=tmp_path / "docs" / "images")
    found = Evaluation.model_validate_json(figures.read_text())
    assert found.training.trials == len(WORLD)
    text = where.read_text()
    assert text.startswith(f"# Title\n\nbefore\n\n{START}\n")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "earlier figures" not in text
    assert "| decode | wllama/wasm |" in text
    drawn = sorted(path.name for path in (tmp_path / "docs" / "images").iterdir())
    assert drawn == [
        "ablation.svg", "baselines.svg", "confusion.svg", "cost.svg",
        "decode-predicted-measured.svg", "errors-by-device.svg", "prefill-predicted-measured.svg",
    ]  # fmt: skip
    for name in drawn:
        assert f"](images/{name})" in text
        assert (tmp_path / "docs" / "images" / name).read_text().startswith("<svg")


def test_the_same_figures_are_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    run(json=first)
    run(WORLD[::-1], json=second)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_without_markers_is_not_touched(tmp_path: Path) -> None:
    where = tmp_path / "notes.md"
    where.write_text("my notes\n")
    with pytest.raises(StoreError, match="no place for the figures"):
        write_markdown(where, "figures")
    assert where.read_text() == "my notes\n"


def test_names_of_devices_do_no_harm() -> None:
    bad = "evil\x1b[31m|[x](javascript:1)<script>"
    hostile = [replace(o, device=bad) if o.device == WORLD[0].device else o for o in WORLD]
    _, out, _ = run(hostile, by="device")
    assert "\x1b" not in out


def test_names_of_devices_do_no_harm_in_markdown(tmp_path: Path) -> None:
    bad = "evil|[x](javascript:1)<script>"
    hostile = [replace(o, device=bad) if o.device == WORLD[0].device else o for o in WORLD]
    run(hostile, by="device", markdown=tmp_path / "a.md")
    text = (tmp_path / "a.md").read_text()
    assert "<script>" not in text
    assert "[x](" not in text
    assert r"evil\|\[x\]" in text


@pytest.mark.parametrize("changes", [{"trusted": False}, {"measured": {}}])
def test_there_must_be_something_to_judge(changes: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="can be judged"):
        run([replace(o, **changes) for o in WORLD])


def test_calibrate_writes_what_it_prints(tmp_path: Path) -> None:
    out = Console(file=io.StringIO(), width=80)
    path = tmp_path / "calibration.json"
    found = calibrate(out, WORLD, path)
    assert read_calibration(path) == found
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines()[:-1])) <= 80
    for words in ("wllama/wasm", "matrix.int4", "margin", f"{len(WORLD)} trials on 10 device"):
        assert words in text
    first = path.read_bytes()
    calibrate(out, WORLD[::-1], path)
    assert path.read_bytes() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["calibration.json"]


def test_calibrate_takes_trusted_trials_only(tmp_path: Path) -> None:
    some = [replace(o, trusted=n % 2 == 0) for n, o in enumerate(WORLD)]
    found = calibrate(Console(file=io.StringIO()), some, tmp_path / "a.json")
    assert found.training.trials == sum(o.trusted for o in some)
    alone = calibrate(
        Console(file=io.StringIO()), [o for o in some if o.trusted], tmp_path / "b.json"
    )
    assert found == alone


@pytest.mark.parametrize("count", [0, 1, 9])
def test_calibrate_refuses_too_few_and_keeps_what_is_there(tmp_path: Path, count: int) -> None:
    path = tmp_path / "calibration.json"
    path.write_text("before")
    with pytest.raises(StoreError, match="a calibration needs 10 of them"):
        calibrate(Console(file=io.StringIO()), WORLD[:count], path)
    assert path.read_text() == "before"


def test_calibrate_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        calibrate(Console(file=io.StringIO()), WORLD, tmp_path / "file" / "calibration.json")


def test_a_calibration_names_no_machine(tmp_path: Path) -> None:
    own = [replace(o, host="my-laptop") for o in WORLD]
    path = tmp_path / "calibration.json"
    calibrate(Console(file=io.StringIO()), own, path)
    assert "my-laptop" not in path.read_text()
    assert Calibration.model_validate(json.loads(path.read_text())).training.devices
