from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.binary.figures import Figures
from harness.devices.android.binary.litert_output import duration_seconds, parse_litert_lm
from harness.devices.android.binary.llama_output import parse_llama_bench, parse_llama_timings

DATA = Path(__file__).parent / "data"
PARSERS = (parse_llama_bench, parse_llama_timings, parse_litert_lm)


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


# --- llama-bench ---------------------------------------------------------------------------------


def test_json_has_every_repetition_and_how_it_was_run() -> None:
    found = parse_llama_bench(read("llama-bench.json"))
    assert found.prefill == (14.3886, 14.5987, 14.3887)
    assert len(found.decode) == 3
    assert (found.prompt_tokens, found.output_tokens) == (16, 8)
    assert found.version == "b1 (0c1e570)"
    assert found.facts["n_threads"] == 2
    assert found.facts["n_batch"] == 2048
    assert "model_filename" not in found.facts
    assert found.complete


def test_json_lines_are_read_between_lines_of_something_else() -> None:
    text = read("llama-bench.jsonl")
    noisy = "ggml_vulkan: No devices found.\n" + text.replace("\n", "\n{not json\n[1, 2]\n")
    assert parse_llama_bench(noisy) == parse_llama_bench(text)
    assert parse_llama_bench(text).complete


def test_the_markdown_table_gives_means() -> None:
    found = parse_llama_bench(read("llama-bench.md"))
    assert (found.prefill, found.decode) == ((22.18,), (2121.68,))
    assert (found.prompt_tokens, found.output_tokens) == (16, 8)
    assert found.version == "b1 (0c1e570)"
    assert found.facts["n_threads"] == "2"


def test_older_tables_with_spaces_and_depths_are_read() -> None:
    table = (
        "| model | size | params | backend | ngl | test | t/s |\n"
        "| --- | ---: | ---: | --- | --: | ---: | ---: |\n"
        "| llama 7B mostly Q4_0 | 3.56 GiB | 6.74 B | CUDA | -1 | pp 512 | 2368.80 ± 93.24 |\n"
        "| qwen2 7B Q4_K | 4.36 GiB | 7.62 B | CUDA | -1 | tg128 @ d512 | 116.71 ± 0.60 |\n"
    )
    found = parse_llama_bench(table)
    assert (found.prefill, found.decode) == ((2368.8,), (116.71,))


def test_a_test_of_both_at_once_is_neither_prefill_nor_decode() -> None:
    assert not parse_llama_bench('{"n_prompt": 16, "n_gen": 8, "avg_ts": 5}\n').complete


@pytest.mark.parametrize(
    "rate", ['"NaN"', "1e999", "-3", "0", "true", '"fast"', "[1]", "99999999999", "null"]
)
def test_a_rate_that_is_none_is_left_out(rate: str) -> None:
    text = f'{{"n_prompt": 16, "n_gen": 0, "avg_ts": {rate}}}\n'
    assert parse_llama_bench(text).prefill == ()


# --- llama.cpp's timings -------------------------------------------------------------------------


def test_timings_of_today() -> None:
    found = parse_llama_timings(read("llama-completion.txt"))
    assert found.prefill == pytest.approx((19 / 1.09e-3,))
    assert found.decode == pytest.approx((7 / 1.05e-3,))
    assert (found.prompt_tokens, found.output_tokens) == (19, 7)


def test_timings_of_before_are_read_and_a_time_of_zero_is_none() -> None:
    text = (
        "llama_print_timings: prompt eval time =    40.00 ms /    10 tokens\n"
        "llama_print_timings:        eval time =     0.00 ms /     1 runs\n"
    )
    found = parse_llama_timings(text)
    assert found.prefill == (250.0,)
    assert found.decode == ()


# --- LiteRT-LM -----------------------------------------------------------------------------------


def test_a_run_of_litert_lm() -> None:
    found = parse_litert_lm(read("litert-lm-0.10.txt"))
    assert found.prefill == pytest.approx((16 / 0.8199514,))
    assert found.decode == pytest.approx((88 / 8.7038005,))
    assert (found.prompt_tokens, found.output_tokens) == (16, 88)
    assert found.create_seconds == pytest.approx(0.5801)
    assert found.first_token_seconds == pytest.approx(0.92)
    assert found.facts["init_ms"] == {
        "Init Conversation": 0.09,
        "Init Executor": 577.3,
        "Init LLM metadata": 0.15,
        "Init Model assets": 0.49,
        "Init Tokenizer": 101.68,
        "Init Total": 580.1,
    }


def test_the_headings_of_before_are_read() -> None:
    found = parse_litert_lm(read("litert-lm-0.7.txt"))
    assert found.create_seconds == pytest.approx(0.91125)
    assert found.decode == pytest.approx((62 / 5.53092314,))
    oldest = (
        "BenchmarkInfo:\n  Prefill Turns (Total: 2):\n"
        "    Prefill Turn 1:\n      Prefill Speed: 500.00 tokens/sec.\n"
        "    Prefill Turn 2:\n      Prefill Speed: 2000.00 tokens/sec.\n"
        "  Decode Turns (Total: 1):\n"
        "    Decode Turn 1:\n      Decode Speed: 200.00 tokens/sec.\n"
    )
    assert parse_litert_lm(oldest).prefill == (500.0, 2000.0)
    assert parse_litert_lm(oldest).decode == (200.0,)


def test_every_repetition_counts_and_a_log_line_around_the_block_does_not_matter() -> None:
    block = read("litert-lm-0.7.txt")
    logged = block.replace("BenchmarkInfo:", "I0000 litert_lm_main.cc:186] BenchmarkInfo:")
    text = logged + block + "Peak system ram usage: 1234.5MB.\n"
    found = parse_litert_lm(text)
    assert len(found.decode) == 2
    assert found.peak_bytes == int(1234.5 * (1 << 20))


def test_what_a_model_says_before_the_block_is_no_figure() -> None:
    told = "Prefill Turn 1: Processed 9 tokens in 1s duration.\n Prefill Speed: 9 tokens/sec.\n"
    assert not parse_litert_lm(told).prefill


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("372.565677ms", 0.372565677),
        ("1m12.5s", 72.5),
        ("11.2us", 11.2e-6),
        ("2h0m1s", 7201.0),
        ("", None),
        ("12", None),
        ("inf", None),
        ("1s!", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    found = duration_seconds(text)
    assert found == (seconds if seconds is None else pytest.approx(seconds))


# --- whatever they print -------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *read("litert-lm-0.10.txt").splitlines(keepends=True),
        *read("llama-bench.md").splitlines(keepends=True),
        *read("llama-bench.jsonl").splitlines(keepends=True),
        *read("llama-completion.txt").splitlines(keepends=True),
    ]
)


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text(max_size=9))).map("".join)))
def test_no_output_makes_a_parser_raise_or_invent(parse: object, text: str) -> None:
    assert callable(parse)
    found = parse(text)
    assert isinstance(found, Figures)
    assert all(0 < rate < 1e7 for rate in (*found.prefill, *found.decode))


@pytest.mark.parametrize("parse", PARSERS)
def test_brackets_without_end_are_no_trouble(parse: object) -> None:
    assert callable(parse)
    assert not parse("[" * 100_000).complete
