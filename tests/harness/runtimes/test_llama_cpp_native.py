"""llama.cpp outside of the browser: what it takes, what it costs, and real runs on tiny models."""

from __future__ import annotations

import asyncio
import importlib.metadata
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from gguf import GGUFReader

from harness.devices.child import child_session
from harness.emulation.limits import observe
from harness.evidence import Timeline
from harness.load import Deadlines, LoadLog
from harness.models import MODELS, Workload, tiny
from harness.native_load import native_load
from harness.probe.predict import MemoryBudget, predict
from harness.probe.report import ProbeReport
from harness.runtimes.base import NativeRuntime, WebRuntime
from harness.runtimes.llama_cpp_native import PACKAGE, RUNTIMES
from harness.trial import load_job
from harness.verdict import Judged, judge
from harness.weights.gguf.recipe import GgufRecipe
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


def workload(prompt: int = 6, output: int = 5, quantisation: str = "q8_0") -> Workload:
    return Workload(
        model=TINY.id,
        quantisation=quantisation,
        runtime=RUNTIME.id,
        prompt_tokens=prompt,
        output_tokens=output,
    )


def test_it_is_a_native_runtime() -> None:
    assert isinstance(RUNTIME, NativeRuntime)
    assert not isinstance(RUNTIME, WebRuntime)
    assert (RUNTIME.id, RUNTIME.backend) == ("llama.cpp/native", "native")
    assert RUNTIME.version() == f"xllamacpp {importlib.metadata.version(PACKAGE)}"
    assert RUNTIME.missing() is None


def test_a_package_that_is_missing_is_said_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr("harness.runtimes.native.version", none)
    missing = RUNTIME.missing()
    assert missing is not None
    assert "the Python package xllamacpp is not installed" in missing
    assert 'pip install "tierlab[native]"' in missing


@pytest.mark.parametrize(
    ("model", "quantisation", "words"),
    [
        ("gemma-2b", "q4_k", None),
        ("gemma-3-270m", "q8_0", None),
        ("gemma-3-270m", "q4_k", "not a multiple of the block of 256"),
        ("gemma-2b", "int4", "llama.cpp/native takes q4_k, q8_0, q4_0, fp16, not int4"),
        ("gemma-4-e2b", "q8_0", "no GGUF layout for gemma-4-e2b"),
    ],
)
def test_what_it_cannot_run_is_known_before(
    model: str, quantisation: str, words: str | None
) -> None:
    reason = RUNTIME.unsupported(MODELS[model], quantisation, REPORT_HERE)
    if words is None:
        assert reason is None
    else:
        assert reason is not None
        assert words in reason


def test_a_generic_name_is_made_exact() -> None:
    assert RUNTIME.exact_quantisation(MODELS["gemma-2b"], "int4") == "q4_k"
    assert RUNTIME.exact_quantisation(MODELS["gemma-3-270m"], "int4") == "q4_0"


@pytest.mark.parametrize(("cores", "threads"), [(2, 2), (16, 16), (None, 1), (0, 1)])
def test_one_thread_a_core_also_in_a_page_that_is_not_isolated(
    cores: int | None, threads: int
) -> None:
    environment = REPORT_HERE.environment.model_copy(
        update={"hardware_concurrency": cores, "cross_origin_isolated": False}
    )
    assert RUNTIME.threads(REPORT_HERE.model_copy(update={"environment": environment})) == threads


@pytest.mark.parametrize(
    ("limit", "verdict"),
    [(None, "unknown"), (64 << 30, "unknown"), (1 << 30, "oom")],
)
def test_memory_is_predicted_and_speeds_are_not(limit: int | None, verdict: str) -> None:
    model = MODELS["gemma-2b"]
    # A plan of its own would take seconds for the vocabulary; this is what it says.
    artifact = GgufRecipe("q4_k").plan(tiny(model)).artifact
    artifact = artifact.model_copy(update={"stored_bytes": 1_545_150_464})
    asked = demand(model.id, "q4_k", prompt=64, file_bytes=artifact.stored_bytes)
    recipe = RUNTIME.engine("q4_k", gpu=False)
    prediction = predict(REPORT_HERE, asked, recipe, MemoryBudget(limit))
    assert prediction.verdict == verdict
    assert prediction.decode_tokens_per_s is prediction.prefill_tokens_per_s is None
    assert prediction.peak_memory_bytes is not None
    # Seen: 1.67 GB with 128 tokens of prompt.
    assert prediction.peak_memory_bytes.low < 1.67e9 < prediction.peak_memory_bytes.high


# --- real runs -----------------------------------------------------------------------------------


class Run:
    """One load in a process, and what is left of it."""

    def __init__(self, folder: Path, artifact: Artifact, asked: Workload, **config: Any) -> None:
        job = load_job(asked, RUNTIME, artifact, 2)
        job["config"] |= config

        async def run() -> tuple[LoadLog, dict[str, int]]:
            async with child_session(self.timeline, folder, observe("llama")) as child:
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
    return write(GgufRecipe("q8_0").plan(TINY), tmp_path_factory.mktemp("gguf") / "tiny")


@pytest.mark.integration
def test_a_tiny_model_gives_the_tokens_asked_for(folder: Path, model_file: Artifact) -> None:
    first = Run(folder, model_file, workload(6, 5))
    assert (first.judged.verdict, first.judged.cause) == (Verdict.OK, "tokens")
    assert len(first.log.tokens) == 5
    assert all(FIRST_WORD <= token < TINY.vocabulary for token in first.log.tokens)
    assert first.log.prompt_tokens == 6
    assert first.log.bytes_loaded == model_file.total_bytes
    assert first.log.warm_ms is not None
    assert first.peak["engine"] > model_file.total_bytes
    again = Run(folder, model_file, workload(6, 5))
    assert again.log.tokens == first.log.tokens


@pytest.mark.integration
@pytest.mark.parametrize("family", ["gemma-2b", "gemma-2-2b-it", "gemma-3-1b-it", "qwen2.5-0.5b"])
def test_every_family_runs(folder: Path, family: str) -> None:
    model = tiny(MODELS[family])
    artifact = write(GgufRecipe("q4_k").plan(model), folder / "model")
    run = Run(folder, artifact, replace(workload(20, 3, "q4_k"), model=model.id))
    assert run.judged.verdict is Verdict.OK, run.judged
    assert all(token >= FIRST_WORD for token in run.log.tokens)


def spoil(folder: Path, artifact: Artifact, change: str) -> Artifact:
    """A copy of a model file with something wrong."""
    data = bytearray(artifact.entry_path.read_bytes())
    match change:
        case "cut":
            del data[len(data) // 2 :]
        case "cut in its header":
            del data[1000:]
        case "another format":
            data[:4] = b"NONE"
        case "another architecture":
            at = data.index(b"gemma3")
            data[at : at + 6] = b"gemmaX"
        case "not finite":
            (norm,) = (
                tensor
                for tensor in GGUFReader(artifact.entry_path).tensors
                if tensor.name == "output_norm.weight"
            )
            end = norm.data_offset + int(norm.n_bytes)
            data[norm.data_offset : end] = b"\xff" * int(norm.n_bytes)
    (folder / "spoilt.gguf").write_bytes(data)
    return artifact.model_copy(update={"directory": folder, "entry": "spoilt.gguf"})


@pytest.mark.integration
@pytest.mark.parametrize(
    ("change", "verdict", "words"),
    [
        ("cut", (Verdict.INFRA, "artifact"), "not within the file bounds"),
        ("cut in its header", (Verdict.INFRA, "artifact"), "failed to read"),
        ("another format", (Verdict.INFRA, "artifact"), "invalid magic"),
        ("another architecture", (Verdict.UNSUPPORTED, "not-possible"), "gemmaX"),
        ("not finite", (Verdict.CRASH, "not-finite"), "not finite"),
    ],
)
def test_a_file_that_is_not_right(
    folder: Path, model_file: Artifact, change: str, verdict: tuple[Verdict, str], words: str
) -> None:
    run = Run(folder, spoil(folder, model_file, change), workload())
    assert (run.judged.verdict, run.judged.cause) == verdict
    assert words in run.judged.explanation


@pytest.mark.integration
def test_a_file_that_is_not_there(folder: Path, model_file: Artifact) -> None:
    run = Run(folder, model_file, workload(), model=str(folder / "none.gguf"))
    assert run.judged.verdict is not Verdict.OK
    assert "No such file" in run.judged.explanation


@pytest.mark.integration
def test_tokens_that_the_model_does_not_have(folder: Path, model_file: Artifact) -> None:
    """A prompt of another vocabulary is an error, and not a shorter prompt."""
    shape = {**model_file.shape, "vocabulary": 1 << 20}
    run = Run(folder, model_file.model_copy(update={"shape": shape}), workload(2000, 2))
    assert run.judged.cause == "engine-error"
    assert "invalid tokens" in run.judged.explanation
