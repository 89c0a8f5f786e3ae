"""The tables of the benchmarks: figures, ratios, Markdown."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bare.driver import kind_of
from benchmarks.comparison import HEADS, NOTHING, Figures, Round, cell, failures, row, same_tokens
from benchmarks.markdown import markdown_table, ratio_of, significant
from benchmarks.runtimes import ROUNDS, rounds_of
from benchmarks.writer import sized
from harness.models import find_model
from harness.runtimes import RUNTIMES, find_runtime
from harness.runtimes.base import NativeRuntime
from harness.weights.formats import find_format

ROOT = Path(__file__).parent.parent.parent

FIGURES = Figures(
    load_seconds=2.0,
    first_seconds=1.0,
    warm_seconds=0.5,
    prompt_tokens=16,
    token_ms=(1000.0, 300.0, 100.0, 50.0, 200.0),
    peak_bytes=1_500_000_000,
    tokens=(300, 301, 302, 303, 304),
)


def load(figures: Figures) -> float:
    return figures.load_seconds


def test_rates_leave_the_first_steps_out() -> None:
    assert FIGURES.decode_rate == pytest.approx(10)
    assert FIGURES.prefill_rate == pytest.approx(32)


def test_two_tokens_have_one_step() -> None:
    assert replace(FIGURES, token_ms=(1000.0, 250.0)).decode_rate == pytest.approx(4)


def test_a_single_token_has_no_decode_rate() -> None:
    assert replace(FIGURES, token_ms=(1000.0,)).decode_rate is None


def test_a_prompt_that_ran_only_cold_has_no_prefill_rate() -> None:
    assert replace(FIGURES, warm_seconds=None).prefill_rate is None


def test_the_ratio_is_that_of_the_rounds_and_not_of_the_medians() -> None:
    # The machine slowed down: medians are 2 and 2, but each round says that one way is slower.
    rounds = [
        Round(replace(FIGURES, load_seconds=ours), replace(FIGURES, load_seconds=bare))
        for ours, bare in ((2, 1), (2, 2), (8, 4))
    ]
    assert cell(rounds, load) == "2.00 / 2.00 = 2.00"


def test_a_side_that_failed_leaves_the_other() -> None:
    rounds = [Round(FIGURES, "not done after 5 s")]
    assert cell(rounds, load) == f"2.00 / {NOTHING}"
    assert failures("x/wasm", rounds * 2) == ["x/wasm, bare: not done after 5 s"]
    cells = row("x/wasm", "int4", 2, rounds)
    assert cells[:4] == ("x/wasm", "int4", "2", "0")


def test_where_both_failed_there_is_nothing() -> None:
    cells = row("x/wasm", "int4", 2, [Round("a", "b")])
    assert set(cells[4:]) == {NOTHING}


def test_a_row_has_a_cell_for_each_head() -> None:
    assert len(row("x/wasm", "int4", 2, [Round(FIGURES, FIGURES)])) == len(HEADS)


def test_other_tokens_are_noticed() -> None:
    other = replace(FIGURES, tokens=(300, 301, 302, 303, 999))
    assert same_tokens([Round(FIGURES, FIGURES)]) == "yes"
    assert same_tokens([Round(FIGURES, FIGURES), Round(FIGURES, other)]) == "no"
    assert same_tokens([Round(FIGURES, "failed")]) == NOTHING


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.012345, "0.0123"), (1.234, "1.23"), (9.999, "10.0"), (1234.5, "1230")],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_a_ratio_to_nothing_is_none() -> None:
    assert ratio_of([(1.0, 0.0)]) is None
    assert ratio_of([(1.0, 0.0), (3.0, 2.0)]) == pytest.approx(1.5)


def test_a_cell_cannot_end_its_column() -> None:
    table = markdown_table(("a", "b"), [("x|y\nz", "1")])
    assert table == "| a | b |\n| --- | ---: |\n| x\\|y z | 1 |"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/usr/bin/chromium --type=renderer --lang=en", "renderer"),
        ("/usr/bin/chromium --type=gpu-process", "gpu-process"),
        ("/usr/bin/chromium --headless", ""),
    ],
)
def test_kinds_of_processes(command: str, kind: str) -> None:
    assert kind_of(command) == kind


def test_a_large_model_on_a_gpu_in_software_is_loaded_once() -> None:
    large, small = find_model("gemma-2b"), find_model("gemma-3-270m")
    gpu, cpu = find_runtime("onnxruntime-web/webgpu"), find_runtime("onnxruntime-web/wasm")
    assert rounds_of(None, large, gpu, software=True) == 1
    assert rounds_of(None, large, gpu, software=False) == ROUNDS
    assert rounds_of(None, large, cpu, software=True) == ROUNDS
    assert rounds_of(None, small, gpu, software=True) == ROUNDS
    assert rounds_of(5, large, gpu, software=True) == 5


def test_every_engine_has_a_bare_counterpart() -> None:
    for runtime in RUNTIMES.values():
        name = runtime.id.partition("/")[0].replace("-", "_").replace(".", "_")
        kind = "py" if isinstance(runtime, NativeRuntime) else "js"
        assert (ROOT / "benchmarks" / "bare" / f"{name}.{kind}").is_file(), runtime.id


def test_a_size_in_megabytes_becomes_layers() -> None:
    form, model = find_format("onnx"), find_model("gemma-2b")
    small = sized(form, "int4", model, 700)
    total = form.recipe("int4", 1).plan(small).total_bytes
    assert small.layers < model.layers
    assert total == pytest.approx(700e6, rel=0.07)
    assert sized(form, "int4", model, 0) == model


def test_a_file_of_one_layer_has_the_size_it_has() -> None:
    model = find_model("gemma-2b")
    assert sized(find_format("tflite-layer"), "int8", model, 700) == model


def test_the_clock_of_processes_times_batches(tmp_path: Path) -> None:
    # A process of its own: the clock takes stdin and stdout.
    script = tmp_path / "engine.py"
    script.write_text(
        "from benchmarks.bare.clock import main\n"
        "def load(job):\n"
        "    print('a library talks')\n"
        "    def generate(prompt, count, on_ids):\n"
        "        on_ids([300, 301]); on_ids([302])\n"
        "        return len(prompt['ids'])\n"
        "    return generate\n"
        "main(load)\n"
    )
    job = {"prompt": {"ids": [1, 2]}, "outputTokens": 3, "warmLimitMs": 1e9}
    done = subprocess.run(
        [sys.executable, script],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    result = json.loads(done.stdout)
    assert result["tokens"] == [300, 301, 302]
    assert result["promptTokens"] == 2
    assert len(result["tokenMs"]) == 3
    assert result["tokenMs"][0] == result["tokenMs"][1]
    assert result["firstMs"] == pytest.approx(2 * result["tokenMs"][0])
    assert result["warmMs"] >= 0
