"""`tierlab model make | list | rm`."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.weights.commands import add_commands


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="tierlab")
    add_commands(parser.add_subparsers())
    arguments = parser.parse_args(["model", *words])
    code = arguments.func(arguments)
    assert isinstance(code, int)
    return code


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


def test_make_list_and_remove(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "GEMMA2_2B", "--tiny", "-q", "int8", "--alias") == 0
    made = capsys.readouterr()
    entry = Path(made.out.strip())
    assert entry.name == "model.onnx"
    assert entry.is_file()
    assert cache in entry.parents
    key = entry.parent.name
    assert key.startswith("gemma-2-2b-it-tiny-int8-fp32-alias-")
    assert "once loaded" in made.err
    assert run("list") == 0
    assert key in capsys.readouterr().out
    assert run("rm", key) == 0
    assert f"removed {key}" in capsys.readouterr().err
    assert run("list") == 0
    assert "no models in" in capsys.readouterr().err


def test_make_finds_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "gemma-2b", "--tiny") == 0
    first = capsys.readouterr().out
    assert run("make", "gemma-2b", "--tiny") == 0
    assert capsys.readouterr().out == first


def test_remove_all_and_what_was_left_behind(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("make", "gemma-2b", "--tiny") == 0
    key = Path(capsys.readouterr().out.strip()).parent.name
    (cache / f".partial-{key}-1-0123abcd").mkdir()
    assert run("rm", "--all") == 0
    assert "removed 1 half-written" in capsys.readouterr().err
    assert [path.name for path in cache.iterdir()] == [".locks"]


def test_another_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("make", "gemma-2b", "--tiny", "--cache", str(tmp_path / "other")) == 0
    assert tmp_path / "other" in Path(capsys.readouterr().out.strip()).parents


def test_what_cannot_be_made() -> None:
    with pytest.raises(UserError, match=r"unknown model 'gema-2b'\n.*gemma-2b"):
        run("make", "gema-2b")
    with pytest.raises(UserError, match="families that are written"):
        run("make", "phi-2", "--tiny")


@pytest.mark.parametrize("words", [["rm"], ["rm", "key", "--all"], [], ["make"]])
def test_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    assert "usage: tierlab model" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["make", "--help"]])
def test_help_has_examples(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(*words)
    assert "tierlab model make gemma-2b" in capsys.readouterr().out
