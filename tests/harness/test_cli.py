"""The command line: what it shows, and how it fails."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.checkout import SUITES
from harness.cli import main
from harness.devices.android import server
from harness.errors import UserError
from harness.models import MODELS
from harness.profiles import load_profiles
from results.record import Evidence, Kind, Source, Verdict
from results.store import Store
from tests.results.records import record

COMMANDS = (
    (),
    ("run",),
    ("devices",),
    ("models",),
    ("tiers",),
    ("model",),
    ("model", "make"),
    ("model", "list"),
    ("model", "rm"),
    ("runs",),
    ("runs", "show"),
    ("matrix",),
)


@pytest.fixture(autouse=True)
def own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


def failure(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails says."""
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("tierlab: ")
    assert "Traceback" not in said.err
    return said.err.removeprefix("tierlab: ")


def commands_of(parser: argparse.ArgumentParser) -> set[str]:
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return set(action.choices)


def test_a_command_is_found_without_the_libraries_of_the_others() -> None:
    every = commands_of(cli._parser())
    assert every == {*cli._OWN, *cli._ADDED_BY}
    for command in every:
        assert command in commands_of(cli._parser(command))
    script = (
        "import sys; from harness.cli import main; main(['outbox', 'list']); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"pytest", "numpy", "playwright", "aiohttp"} & set(done.stdout.split())


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    assert f"usage: {' '.join(('tierlab', *words))}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["nosuch"], ["runs"], ["model"], ["tiers", "more"]])
def test_wrong_words_show_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "usage: tierlab" in capsys.readouterr().err


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("tierlab ")


def test_run_hands_everything_to_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[str] = []

    def become(program: str, words: list[str]) -> None:
        assert program == sys.executable
        handed.extend(words)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    with pytest.raises(SystemExit):
        main(["run", "--device=desktop-2g", "-x", "--results", "a folder"])
    assert handed[1:] == [
        "-m", "pytest", str(SUITES), "--matrix",
        "--device=desktop-2g", "-x", "--results", "a folder",
    ]  # fmt: skip


def test_models_shows_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in MODELS)
    gemma = next(line for line in shown.splitlines() if "gemma-2b " in line)
    assert "2.51" in gemma
    assert "18432" in gemma
    assert "524" in gemma.split()


def test_tiers_shows_every_threshold_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiers"]) == 0
    shown = capsys.readouterr().out
    assert "from 10" in shown
    assert shown.count("prefill") >= 4
    assert shown.count("unsupported") >= 2


def test_devices_shows_every_profile(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def none() -> str:
        raise UserError("there is no adb program on this machine")

    monkeypatch.setattr(server, "adb_binary", none)
    assert main(["devices"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in load_profiles())


# ---- runs show ----


def filled(folder: Path) -> None:
    item = Evidence(
        at_seconds=1.0,
        source=Source.PAGE,
        kind=Kind.ENGINE_ERROR,
        detail={"message": "a\x1b[2J\nb"},
    )
    with Store.open(folder) as store:
        for run in ("one", "two"):
            store.start_run(run, "")
        store.add(record("a", "one"))
        store.add(
            record("b", "two", verdict=Verdict.CRASH, explanation="[red]x\x1b[2J", evidence=(item,))
        )


def test_the_last_run_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "tierlab-results")
    assert main(["runs", "show"]) == 0
    shown = capsys.readouterr().out
    assert "crash" in shown
    assert "[red]x" in shown
    assert "\x1b" not in shown
    assert "engine-error" not in shown


def test_a_named_run_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "there")
    assert main(["runs", "show", "one", "--results", "there"]) == 0
    shown = capsys.readouterr().out
    assert "offer" in shown
    assert "crash" not in shown


def test_evidence_is_shown_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "tierlab-results")
    assert main(["runs", "show", "--evidence"]) == 0
    shown = capsys.readouterr().out
    assert "\nb  crash: [red]x" in shown
    assert "\x1b" not in shown
    (line,) = (line for line in shown.splitlines() if "engine-error" in line)
    assert line.strip().startswith("1.000 s  page: engine-error (message=a")


def test_no_results(capsys: pytest.CaptureFixture[str]) -> None:
    assert failure(["runs", "show", "--results", "nowhere"], capsys) == (
        "nowhere: there are no results here\n  -> run `tierlab run` first\n"
    )
    assert not Path("nowhere").exists()


def test_results_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert "no run is stored here" in failure(["runs", "show", "--results", "empty"], capsys)


def test_an_unknown_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filled(tmp_path / "tierlab-results")
    said = failure(["runs", "show", "three"], capsys)
    assert said.startswith("tierlab-results: there are no records of run three\n  -> leave the id")


def test_a_damaged_store(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad").mkdir()
    Path("bad/store.sqlite3").write_text("a letter " * 100)
    said = failure(["runs", "show", "--results", "bad"], capsys)
    assert "store.sqlite3: cannot be used: file is not a database" in said


def test_models_names_where_each_shape_is_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--sources"]) == 0
    printed = capsys.readouterr().out
    for model in MODELS.values():
        assert f"{model.id}: {model.source}" in printed


# ---- models, and the shell ----


def test_model_commands_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "make", "gemma-2b", "--tiny"]) == 0
    key = Path(capsys.readouterr().out.strip()).parent.name
    assert main(["model", "list"]) == 0
    assert key in capsys.readouterr().out
    assert main(["model", "rm", key]) == 0
    assert f"removed {key}" in capsys.readouterr().err
    assert "unknown model 'gema-2b'" in failure(["model", "make", "gema-2b"], capsys)


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "rows", interrupted)
    assert main(["tiers"]) == 130


@pytest.mark.parametrize("command", [["models"], ["tiers"]])
def test_a_reader_that_goes_away_is_no_fault(command: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from harness.cli import main; main()", *command],
            cwd=SUITES.parent, stdout=write, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert done.stderr == ""
