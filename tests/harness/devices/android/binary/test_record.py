from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.binary.cores import count_fast
from harness.devices.android.binary.figures import Figures
from harness.devices.android.binary.kinds import Parameters
from harness.devices.android.binary.llama_output import parse_llama_bench
from harness.devices.android.binary.model_file import describe_model
from harness.devices.android.binary.record import Trial, make_record, new_trial_id, now
from harness.devices.android.binary.run import BinaryResult
from harness.devices.base import HostFacts, MemorySample
from harness.errors import UserError
from harness.evidence import Timeline
from harness.models import find_model, tiny
from harness.profiles import load_profiles
from harness.weights.cache import ArtifactCache
from harness.weights.gguf.recipe import GgufRecipe
from results.record import Judgement, Kind, Record, Source, Verdict
from results.tiers import Tier

if TYPE_CHECKING:
    from harness.devices.android.binary.model_file import ModelFile

DATA = Path(__file__).parent / "data"
PARAMETERS = Parameters(16, 8, threads=2, prefill_batch=64, context_tokens=128)
HOST = HostFacts(
    "panther", "Android 15", "Tensor G2", 8, 8 << 30, "chrome", "150", extra={"soc": "x"}
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    path = tmp_path_factory.mktemp("model") / "Qwen 2.5-q8_0.litertlm"
    path.write_bytes(b"weights")
    return describe_model(path)


def result(timeline: Timeline, figures: Figures) -> BinaryResult:
    return BinaryResult(
        parameters=PARAMETERS,
        runtime="llama.cpp/android-cpu",
        linked="statically linked",
        command="./llama-bench -m m.gguf",
        figures=figures,
        exit_code=0,
        curve=(MemorySample(0.5, {"engine": 100}),),
        peak_bytes=123 << 20,
        least_available_bytes=1 << 30,
        wall_seconds=2.5,
        timeline=timeline,
    )


def record(model: ModelFile, timeline: Timeline, found: BinaryResult | None) -> Record:
    trial = Trial(
        run_id="r",
        trial_id=new_trial_id(),
        started_at=now(),
        profile=load_profiles()["pixel7"],
        host=HOST,
        model=model,
        runtime="llama.cpp/android-cpu",
        parameters=PARAMETERS,
        at_rest=True,
    )
    return make_record(trial, timeline, found, {"stdout": "trials/x/binary-stdout.txt"})


def test_a_good_run_is_a_record_like_any_other(model: ModelFile) -> None:
    timeline = Timeline()
    timeline.add(Source.ENGINE, Kind.DONE, tokens=24, finite=None)
    figures = parse_llama_bench((DATA / "llama-bench.json").read_text(encoding="utf-8"))
    found = record(model, timeline, result(timeline, figures))
    assert (found.verdict, found.judgement) == (Verdict.OK, Judgement.UNKNOWN)
    assert found.workload.weights == "Qwen-2.5-q8_0/q8_0 2t-b64-c128"
    assert found.measurement is not None
    assert found.measurement.prefill_tokens_per_s == 14.3887
    assert found.measurement.memory.engine_bytes == 123 << 20
    assert found.measurement.decode_ms is not None
    assert found.measurement.decode_ms.n == 3
    assert found.tiers.prefill is not None
    assert found.conditions.threads == 2
    assert found.conditions.runtime_version == "b1 (0c1e570)"
    native = found.conditions.facts["native"]
    assert isinstance(native, dict)
    assert (native["prefill_batch"], native["context_tokens"]) == (64, 128)
    assert native["prefill_samples"] == [14.3886, 14.5987, 14.3887]
    assert found.conditions.facts["soc"] == "x"
    assert Record.model_validate_json(found.model_dump_json()) == found


def test_a_run_that_was_killed_for_memory_has_what_it_took(model: ModelFile) -> None:
    timeline = Timeline()
    timeline.add(Source.PROCESS, Kind.CHILD_GONE, signal=9, name="signal 9", line="")
    timeline.add(Source.LOGCAT, Kind.LMK_KILL, process="engine", reason="low watermark")
    found = record(model, timeline, result(timeline, Figures()))
    assert found.verdict is Verdict.OOM
    assert found.tiers.pair is Tier.UNSUPPORTED
    assert found.measurement is not None
    assert found.measurement.memory.engine_bytes == 123 << 20
    assert found.measurement.bytes_loaded == 0


def test_a_run_that_was_not_begun_says_nothing_of_the_phone(model: ModelFile) -> None:
    timeline = Timeline()
    timeline.add(Source.HARNESS, Kind.LAB_ERROR, message="battery is 3 %")
    found = record(model, timeline, None)
    assert (found.verdict, found.measurement, found.tiers.pair) == (Verdict.INFRA, None, None)
    assert found.artifact is not None
    assert found.artifact.format == "litertlm"


# --- the model file ------------------------------------------------------------------------------


def test_a_head_says_more_than_a_name(tmp_path: Path) -> None:
    shape = tiny(find_model("qwen2.5-0.5b"))
    made = ArtifactCache(tmp_path).ensure(shape, GgufRecipe("q8_0"), lambda _done, _of: None)
    found = describe_model(made.entry_path)
    assert (found.quantisation, found.format) == ("q8_0", "gguf")
    assert found.total_bytes == made.total_bytes
    assert describe_model(made.entry_path, model="QWEN2.5-0.5B-instruct").model == "qwen2.5-0.5b"


@pytest.mark.parametrize(
    ("name", "quantisation"),
    [
        ("gemma-3n-E2B-it-int4.litertlm", "int4"),
        ("Llama-3.2-1B-Instruct-Q4_K_M.task", "q4_k_m"),
        ("model.litertlm", "unknown"),
        ("seq2048.litertlm", "unknown"),
    ],
)
def test_names_say_how_weights_are_stored(tmp_path: Path, name: str, quantisation: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert describe_model(tmp_path / name).quantisation == quantisation


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        describe_model(tmp_path / "nothing.litertlm")
    (tmp_path / "bad.gguf").write_bytes(b"GGML")
    with pytest.raises(UserError, match="is not a GGUF model"):
        describe_model(tmp_path / "bad.gguf")
    (tmp_path / "x.task").write_bytes(b"x")
    with pytest.raises(UserError, match="unknown model"):
        describe_model(tmp_path / "x.task", model="nonsense")


# --- fast cores ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fast"),
    [
        ("1803000\n" * 4 + "2348000\n" * 2 + "2850000\n" * 2 + "cores\n8\n", 4),
        ("2400000\n" * 8 + "cores\n8\n", 8),
        ("cores\n6\n", 3),
        ("cores\n", 1),
        ("", 1),
        ("garbage\n1803000\ncores\nmany\n", 1),
    ],
)
def test_slow_cores_do_not_count(said: str, fast: int) -> None:
    assert count_fast(said) == fast


@given(st.text())
def test_no_answer_makes_it_raise(text: str) -> None:
    assert 1 <= count_fast(text) <= 1024
