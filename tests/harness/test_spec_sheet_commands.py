"""`tierlab predict`: what it prints, and how mistakes are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness.cli import main
from harness.profiles import load_profiles
from harness.runtimes import RUNTIMES
from harness.spec_sheet.engines import ENGINES
from tests.harness.fakes import REPORT

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = "--device=galaxy-s24-ultra"
MODEL = "--model=gemma-2b"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["predict", *words]) == 0
    return capsys.readouterr().out


def data(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown(capsys, *words, "--json"))
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["predict", *words]) == 1
    return " ".join(capsys.readouterr().err.split())


@pytest.fixture
def report(tmp_path: Path) -> str:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORT))
    return f"--report={path}"


@pytest.mark.parametrize("device", load_profiles())
def test_every_profile_answers(device: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, f"--device={device}", MODEL)
    kind = load_profiles()[device].kind
    runtimes = [each["runtime"] for each in found["predictions"]]
    assert runtimes == [engine.id for engine in ENGINES.values() if kind in engine.kinds]
    for each in found["predictions"]:
        speed = each["prediction"]["decode_tokens_per_s"]
        assert speed or each["unknown"].get("decode") or each["prediction"]["terms"] == {}


def test_a_phone_has_engines_in_a_page_and_outside(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, DEVICE, MODEL)
    assert text.startswith("gemma-2b on galaxy-s24-ultra, 256+64 tokens, from its spec sheet")
    for name in ("mediapipe/webgpu", "wllama/wasm", "litert-lm/gpu", "litert-lm/cpu", "llama.cpp/"):
        assert name in text
    assert "no source confirms gpu_gflops_f32" in text


def test_terms_are_explained(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, DEVICE, MODEL, "--runtime=mediapipe/cpu", "--quant=int8", "--explain")
    assert "litert-lm/cpu, int8: ok" in text
    steps = [line for line in text.splitlines() if line[:3].strip().isdigit()]
    order = ["engine:", "device:", "address space:", "memory:"]
    assert [next(w for w in order if w in line) for line in steps[:4]] == order
    for word in ("weights", "attention", "operations", "file", "kv", "sum", "share"):
        assert word in text
    assert text.count("factors: calibrated: fitted to") == 3
    assert "devices left out: median" in text
    assert "load: unknown: a spec sheet does not say how fast storage" in text
    assert "9 times in 10 from" in text


def test_a_belief_is_called_one(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, DEVICE, MODEL, "--runtime=wllama/wasm", "--explain")
    assert "factors: belief: 4.4 times slower than native engines on the cpu" in text


def test_what_a_profile_does_not_say(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "--device=galaxy-a34", MODEL, "--memory=8g")
    assert "unknown: the profile has no bandwidth_gb_s" in text
    assert "add what is known to device_profiles/galaxy-a34.toml" in text
    text = shown(capsys, "--device=desktop", MODEL)
    assert "it is whatever machine this is; measure it: tierlab run --device=desktop" in text


def test_json_has_the_terms(capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, DEVICE, MODEL, "--runtime=litert-lm/gpu", "--prompt-tokens=100")
    assert found["device"] == "galaxy-s24-ultra"
    assert found["prompt_tokens"] == 100
    (only,) = found["predictions"]
    assert only["prediction"]["terms"]["decode"]["weights"]["factor"] > 0
    assert only["factors"]["decode"].startswith("calibrated: ")
    assert [step["outcome"] for step in only["steps"]] == ["ok"] * 4


# ---- a report ----


def test_a_report_is_read_for_every_engine(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = data(capsys, report, "--model=gemma-3-270m")
    assert [each["runtime"] for each in found["predictions"]] == list(RUNTIMES)
    assert any(each["prediction"]["terms"] for each in found["predictions"])


def test_a_report_is_explained(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = (report, "--model=gemma-3-270m", "--runtime=onnxruntime-web/wasm", "--explain")
    text = shown(capsys, *words)
    assert "from a report of the probe" in text
    assert "1. ok      structure" in text
    assert "decode, of a token:" in text
    assert "matrix.int4" in text
    assert "factors: " in text
    short_of_memory = shown(capsys, *words, "--memory=300m")
    assert "onnxruntime-web/wasm, int4: oom" in short_of_memory
    assert "2. no      memory: peaks at" in short_of_memory


def test_what_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.json"
    assert "cannot be read: No such file" in refused(capsys, f"--report={path}", MODEL)
    path.write_text("{}")
    message = refused(capsys, f"--report={path}", MODEL)
    assert "not a probe report" in message
    assert "run the probe again" in message


# ---- mistakes ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([DEVICE], "no model is named -> name one: --model=gemma-2b"),
        ([DEVICE, "--model=gema-2b"], "unknown model 'gema-2b' -> did you mean gemma-2b"),
        (["--device=galaxy-s24-utra", MODEL], "unknown device 'galaxy-s24-utra' -> did you mean"),
        (["--device=pixel*", MODEL], "profiles -> name one; see tierlab devices"),
        ([DEVICE, MODEL, "--runtime=tflite"], "unknown runtime 'tflite'"),
        ([DEVICE, MODEL, "--quant=int3"], "unknown quantisation 'int3'"),
        ([DEVICE, MODEL, "--prompt-tokens=0"], "--prompt-tokens=0: must be at least 1"),
        ([DEVICE, MODEL, "--memory=lots"], "'lots' is not a size"),
    ],
)
def test_a_mistake_is_told_with_the_next_step(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, *words)


# ---- the check ----


def test_the_check_prints_errors_by_row_and_by_engine(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = shown(capsys, "--check")
    assert "published : predicted by factors without that device" in text
    assert "oneplus-12" in text
    assert "by engine:" in text
    for family in ("xnnpack/cpu", "litert/gpu", "mediapipe/webgpu"):
        assert family in text
    assert "18 not computed:" in text
    assert "line 64: AMD Strix Halo iGPU" in text


def test_the_check_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    figures = data(capsys, "--check")["figures"]
    assert all(each["source"] for each in figures)
    assert all((each["predicted"] is None) == bool(each["reason"]) for each in figures)
