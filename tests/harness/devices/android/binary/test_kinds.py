from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.binary.kinds import (
    KINDS,
    Parameters,
    find_kind,
    known_options,
    words,
)
from harness.errors import UserError

DATA = Path(__file__).parent / "data"
PLAIN = Parameters(prompt_tokens=128, output_tokens=32, threads=4)
FULL = Parameters(128, 32, threads=4, prefill_batch=64, context_tokens=1024, repetitions=5)


def called(kind: str, parameters: Parameters, options: frozenset[str] | None = None) -> str:
    return " ".join(find_kind(Path("x"), kind).arguments("m.gguf", parameters, options))


def test_llama_bench_is_called_with_all_that_decides() -> None:
    assert called("llama-bench", PLAIN) == "-m m.gguf -p 128 -n 32 -t 4 -r 3 -o jsonl -ngl 0"
    assert called("llama-bench", FULL) == (
        "-m m.gguf -p 128 -n 32 -t 4 -r 5 -o jsonl -b 64 -ub 64 -d 896 -ngl 0"
    )


def test_litert_lm_is_called_with_all_that_decides() -> None:
    assert called("litert-lm", FULL) == (
        "--backend=cpu --model_path=m.gguf --benchmark --benchmark_prefill_tokens=128"
        " --benchmark_decode_tokens=32 --async=false --num_cpu_threads=4 --num_iterations=5"
        " --prefill_batch_sizes=64 --max_num_tokens=1024 --report_peak_memory_footprint"
    )


def test_a_program_is_told_only_what_it_knows() -> None:
    few = frozenset({"--backend", "--model_path", "--input_prompt", "--num_cpu_threads"})
    two = Parameters(prompt_tokens=2, output_tokens=1, threads=4)
    assert called("litert-lm", two, few) == (
        "--backend=cpu --model_path=m.gguf --input_prompt=word word --num_cpu_threads=4"
    )
    with pytest.raises(UserError, match="does not know --prefill_batch_sizes"):
        called("litert-lm", FULL, few)
    with pytest.raises(UserError, match="does not know -d"):
        called("llama-bench", FULL, frozenset(["-m", "-p", "-n", "-t", "-r", "-o", "-b", "-ub"]))


def test_the_real_help_of_llama_bench_has_every_option() -> None:
    options = known_options((DATA / "llama-bench-help.txt").read_text(encoding="utf-8"))
    assert options is not None
    assert {"-m", "-p", "-n", "-t", "-r", "-o", "-b", "-ub", "-d", "-ngl"} <= options
    assert called("llama-bench", FULL, options) == called("llama-bench", FULL)


def test_the_context_ends_with_the_longer_of_the_two_tests() -> None:
    long = Parameters(prompt_tokens=16, output_tokens=512, threads=1, context_tokens=1024)
    assert " -d 512 " in called("llama-bench", long)


def test_completion_is_given_room_and_a_prompt() -> None:
    said = called("llama-completion", Parameters(3, 2, threads=1))
    assert said.startswith("-m m.gguf -n 2 -t 1 -c 78 -p word word word --no-conversation")


@given(st.text())
def test_a_help_that_lists_nothing_forbids_nothing(text: str) -> None:
    found = known_options(text)
    assert found is None or all(option.startswith("-") for option in found)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("llama-bench", b"", "llama-bench"),
        ("llama-bench-android-arm64", b"", "llama-bench"),
        ("LLAMA-CLI", b"", "llama-completion"),
        ("litert_lm_main", b"", "litert-lm"),
        ("litert_lm_advanced_main.android_arm64", b"", "litert-lm"),
        ("tool", b"\0 -p, --n-prompt <n>\0", "llama-bench"),
        ("tool", b"\0benchmark_prefill_tokens\0", "litert-lm"),
        ("run.sh", b"#!/system/bin/sh\nexec ./litert_lm_main", "litert-lm"),
        ("main", b"-n, --n-predict N", "llama-completion"),
    ],
)
def test_programs_are_recognised(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert find_kind(path).name == kind


def test_what_is_not_recognised_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(b"\x7fELF")
    with pytest.raises(UserError, match="--binary-kind: llama-bench"):
        find_kind(path)
    assert [find_kind(path, kind).name for kind in KINDS] == list(KINDS)
    with pytest.raises(UserError, match="unknown kind of program 'x'"):
        find_kind(path, "x")


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match="threads = 0"):
        Parameters(1, 1, threads=0)
    with pytest.raises(UserError, match="too short for a prompt of 16 and an output of 8"):
        Parameters(16, 8, threads=1, context_tokens=23)


def test_a_prompt_has_as_many_words_as_tokens() -> None:
    assert words(3) == "word word word"
