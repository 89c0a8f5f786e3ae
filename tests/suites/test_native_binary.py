"""The suite of native programs: where it runs, and what it says of a record."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ("pytester",)

SUITES = Path(__file__).parents[2] / "suites"


def collect(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    results = pytester.path / "results"
    return pytester.runpytest_inprocess(
        SUITES, "-p", "no:cacheprovider", "--collect-only", "-q", f"--results={results}", *options
    )


@pytest.fixture
def program(tmp_path: Path) -> tuple[str, str]:
    path, model = tmp_path / "llama-bench", tmp_path / "m.gguf"
    path.touch()
    model.touch()
    return f"--binary={path}", f"--binary-model={model}"


def test_it_runs_where_a_program_is_given_and_once_for_each_case(
    pytester: pytest.Pytester, program: tuple[str, str]
) -> None:
    phone = ("--device=pixel7", "--emulate")
    without = collect(pytester, *phone)
    assert "test_native_binary" not in without.stdout.str()
    given = collect(pytester, *phone, *program, "--binary-threads=2,4", "--binary-context=512")
    said = given.stdout.str()
    assert said.count("test_the_program_measures[") == 2
    assert "[pixel7-2t-c512]" in said
    assert "[pixel7-4t-c512]" in said


def test_it_does_not_run_on_this_machine(
    pytester: pytest.Pytester, program: tuple[str, str]
) -> None:
    result = collect(pytester, "--device=desktop", *program)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--binary is for phones" in result.stderr.str() + result.stdout.str()


def test_a_mistake_ends_the_run_before_anything_is_collected(
    pytester: pytest.Pytester, program: tuple[str, str]
) -> None:
    result = collect(pytester, "--device=desktop", program[0])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "--binary without --binary-model" in result.stderr.str() + result.stdout.str()
