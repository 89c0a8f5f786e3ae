"""LiteRT-LM outside of the browser: what it takes, what it costs, and real runs on tiny models."""

from __future__ import annotations

import asyncio
import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from harness.devices.child import child_session
from harness.emulation.limits import observe
from harness.evidence import Timeline
from harness.load import Deadlines, LoadLog
from harness.models import MODELS, Workload, tiny
from harness.native_load import native_load
from harness.probe.predict import MemoryBudget, predict
from harness.probe.report import ProbeReport
from harness.runtimes.base import NativeRuntime, WebRuntime
from harness.runtimes.litert_lm_native import PACKAGE, RUNTIMES
from harness.trial import load_job
from harness.verdict import Judged, judge
from harness.weights.tflite import PrefillDecodeRecipe
from harness.weights.tokenizer import FIRST_WORD
from harness.weights.writing import write
from results.record import Verdict
from tests.harness.fakes import REPORT
from tests.harness.probe.samples import demand

if TYPE_CHECKING:
    from pathlib import Path

    from harness.weights.artifact import Artifact

(RUNTIME,) = RUNTIMES
TINY: Final = tiny(MODELS["gemma-3-270m"])
REPORT_HERE: Final = ProbeReport.model_validate(REPORT)
ASKED: Final = Workload(
    model=TINY.id, quantisation="int8", runtime=RUNTIME.id, prompt_tokens=6, output_tokens=5
)


def test_it_is_a_native_runtime() -> None:
    assert isinstance(RUNTIME, NativeRuntime)
    assert not isinstance(RUNTIME, WebRuntime)
    assert (RUNTIME.id, RUNTIME.backend) == ("litert-lm/native", "native")
    assert RUNTIME.version() == f"litert-lm-api {importlib.metadata.version(PACKAGE)}"
    assert RUNTIME.missing() is None
    assert RUNTIME.exact_quantisation(TINY, "int8") == "int8"


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr("harness.runtimes.native.version", none)
    assert "litert-lm-api is not installed" in (RUNTIME.missing() or "")


@pytest.mark.parametrize(
    ("model", "quantisation", "words"),
    [
        ("gemma-3-270m", "int8", None),
        ("gemma-2b", "int4", None),
        ("gemma-2b", "q4_k", "litert-lm/native takes int8, int4, fp32, not q4_k"),
        ("gemma-4-e2b", "int8", "gemma4"),
    ],
)
def test_what_it_cannot_run_is_known_before(
    model: str, quantisation: str, words: str | None
) -> None:
    reason = RUNTIME.unsupported(MODELS[model], quantisation, REPORT_HERE)
    assert (reason is None) is (words is None)
    assert (words or "") in (reason or "")


@pytest.mark.parametrize(
    ("limit", "verdict"), [(None, "unknown"), (64 << 30, "unknown"), (450 << 20, "oom")]
)
def test_memory_is_predicted_and_speeds_are_not(limit: int | None, verdict: str) -> None:
    model = MODELS["gemma-3-270m"]
    artifact = PrefillDecodeRecipe("int8").plan(TINY).artifact
    artifact = artifact.model_copy(update={"stored_bytes": 272_000_000})  # what a plan of it says
    asked = demand(model.id, "int8", prompt=64, file_bytes=artifact.stored_bytes)
    recipe = RUNTIME.engine("int8", gpu=False)
    prediction = predict(REPORT_HERE, asked, recipe, MemoryBudget(limit))
    assert prediction.verdict == verdict
    assert prediction.decode_tokens_per_s is prediction.prefill_tokens_per_s is None
    assert prediction.peak_memory_bytes is not None
    # Seen: 0.84 GB.
    assert prediction.peak_memory_bytes.low < 0.84e9 < prediction.peak_memory_bytes.high


# --- real runs -----------------------------------------------------------------------------------


class Run:
    """One load in a process, and what is left of it."""

    def __init__(self, folder: Path, artifact: Artifact, asked: Workload, **config: Any) -> None:
        job = load_job(asked, RUNTIME, artifact, 2)
        job["config"] |= config

        async def run() -> tuple[LoadLog, dict[str, int]]:
            async with child_session(self.timeline, folder, observe("litert")) as child:
                log = await native_load(
                    child,
                    self.timeline,
                    module=RUNTIME.module,
                    job=job,
                    deadlines=Deadlines(60, 60),
                    progress=lambda _: None,
                )
                return log, child.peak_memory()[0]

        self.timeline = Timeline()
        self.log, self.peak = asyncio.run(run())

    @property
    def judged(self) -> Judged:
        return judge(self.timeline.items)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    recipe = PrefillDecodeRecipe(quantisation="int8", prefill=(8,))
    return write(recipe.plan(TINY), tmp_path_factory.mktemp("litertlm") / "tiny")


@pytest.mark.integration
def test_a_tiny_model_gives_the_tokens_asked_for(folder: Path, model_file: Artifact) -> None:
    first = Run(folder, model_file, ASKED)
    assert (first.judged.verdict, first.judged.cause) == (Verdict.OK, "tokens")
    assert len(first.log.tokens) == 5
    assert all(FIRST_WORD <= token < TINY.vocabulary for token in first.log.tokens)
    # The engine puts the beginning of the sequence before a prompt.
    assert first.log.prompt_tokens == ASKED.prompt_tokens + 1
    assert first.log.bytes_loaded == model_file.total_bytes
    assert first.log.warm_ms is not None
    assert first.peak["engine"] > model_file.total_bytes
    assert Run(folder, model_file, ASKED).log.tokens == first.log.tokens
    # Nothing was kept beside the file for the next time.
    assert {path.name for path in model_file.directory.iterdir()} == {
        model_file.entry,
        "manifest.json",
    }


@pytest.mark.integration
def test_a_vocabulary_that_is_not_ours(folder: Path, model_file: Artifact) -> None:
    run = Run(folder, model_file.model_copy(update={"kind": "real"}), ASKED)
    assert run.judged.verdict is Verdict.OK
    assert run.log.tokens == [-1] * 5


@pytest.mark.integration
def test_a_prompt_beyond_the_context_of_the_file(folder: Path, model_file: Artifact) -> None:
    run = Run(folder, model_file, replace(ASKED, prompt_tokens=300))
    assert run.judged.verdict is Verdict.UNSUPPORTED
    assert "301 >= 256" in run.judged.explanation


@pytest.mark.integration
def test_an_answer_beyond_the_context_of_the_file(folder: Path, model_file: Artifact) -> None:
    run = Run(folder, model_file, replace(ASKED, prompt_tokens=240, output_tokens=40))
    assert run.judged.cause == "engine-error"
    assert "40 tokens were asked for" in run.judged.explanation


def spoil(folder: Path, artifact: Artifact, change: str) -> Artifact:
    """A copy of a model file with something wrong."""
    data = bytearray(artifact.entry_path.read_bytes())
    match change:
        case "cut":
            del data[len(data) // 2 :]
        case "another format":
            data[:8] = b"NOTHING!"
        case "another kind of model":
            data = data.replace(b"tf_lite_prefill_decode", b"tf_lite_something_else")
    (folder / "spoilt.litertlm").write_bytes(data)
    return artifact.model_copy(update={"directory": folder, "entry": "spoilt.litertlm"})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("cut", "too large for file size"),
        ("another format", "Invalid magic number"),
        ("another kind of model", "Unknown model type: tf_lite_something_else"),
    ],
)
def test_a_file_that_is_not_right(
    folder: Path, model_file: Artifact, change: str, words: str
) -> None:
    run = Run(folder, spoil(folder, model_file, change), ASKED)
    assert (run.judged.verdict, run.judged.cause) == (Verdict.INFRA, "artifact")
    assert words in run.judged.explanation
