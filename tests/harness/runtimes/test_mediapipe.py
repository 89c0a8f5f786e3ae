"""MediaPipe's engine: what it refuses before a download, and how it fails in a real browser.

That it works is tested together with LiteRT-LM, in `test_litert_lm_web`: the same weights, the same
tokens.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from harness.load import Deadlines
from harness.models import MODELS, tiny
from harness.runtimes import RUNTIMES
from harness.runtimes.base import WebRuntime
from harness.runtimes.litert_lm_web import LiteRtLmWeb
from harness.runtimes.mediapipe import MediaPipe
from harness.weights.mediapipe.recipe import MediaPipeRecipe
from harness.weights.writing import write
from results.record import Kind, Verdict
from tests.harness.probe.samples import sample
from tests.harness.runtimes.browser import COUNT, PROMPT, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

ENGINES = (MediaPipe(), LiteRtLmWeb("webgpu"))


def with_limit(report: ProbeReport, name: str, value: int) -> ProbeReport:
    """The report of a device whose adapter has that limit."""
    webgpu = report.backends.webgpu
    assert webgpu
    assert webgpu.adapter
    adapter = webgpu.adapter.model_copy(update={"limits": {**webgpu.adapter.limits, name: value}})
    backends = report.backends.model_copy(
        update={"webgpu": webgpu.model_copy(update={"adapter": adapter})}
    )
    return report.model_copy(update={"backends": backends})


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.id)
class TestBeforeADownload:
    def test_registered(self, engine: MediaPipe | LiteRtLmWeb) -> None:
        assert RUNTIMES[engine.id] == engine
        assert isinstance(engine, WebRuntime)

    @pytest.mark.parametrize(
        "model", ["gemma-2b", "gemma-2-2b-it", "gemma-3-270m", "gemma-3-1b-it", "gemma-4-e2b"]
    )
    def test_takes(self, engine: MediaPipe | LiteRtLmWeb, model: str) -> None:
        report = sample("chromium_swiftshader")
        for quantisation in engine.quantisations:
            assert engine.unsupported(MODELS[model], quantisation, report) is None
            assert engine.recipe(MODELS[model], quantisation, report).key(MODELS[model])
            for gpu, ending in ((False, ""), (True, ":gpu")):
                recipe = engine.engine(quantisation, gpu=gpu)
                assert recipe.name == engine.id
                assert recipe.key == engine.id + ending
                assert quantisation in recipe.kernels

    def test_other_models(self, engine: MediaPipe | LiteRtLmWeb) -> None:
        report = sample("chromium_swiftshader")
        reason = engine.unsupported(MODELS["qwen2.5-0.5b"], "int8", report)
        assert reason == f"{engine.id} has no graph for qwen2.5-0.5b"

    def test_other_quantisations(self, engine: MediaPipe | LiteRtLmWeb) -> None:
        report = sample("chromium_swiftshader")
        reason = engine.unsupported(MODELS["gemma-2b"], "q4_k", report)
        assert reason == f"{engine.id} takes int4, int8, not q4_k"

    def test_no_adapter(self, engine: MediaPipe | LiteRtLmWeb) -> None:
        reason = engine.unsupported(MODELS["gemma-2b"], "int4", sample("chromium_wasm"))
        assert reason
        assert "WebGPU" in reason

    @pytest.mark.parametrize("name", ["maxBufferSize", "maxStorageBufferBindingSize"])
    def test_a_tensor_above_a_limit(self, engine: MediaPipe | LiteRtLmWeb, name: str) -> None:
        largest = 262_144 * 1152
        report = sample("chromium_swiftshader")
        enough = with_limit(report, name, largest)
        assert engine.unsupported(MODELS["gemma-3-1b-it"], "int4", enough) is None
        short = with_limit(report, name, largest - 1)
        assert engine.unsupported(MODELS["gemma-3-1b-it"], "int4", short) == (
            f"its largest tensor has {largest} bytes, above the adapter's {name} of {largest - 1}"
        )


# ---- how it fails ----


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("mediapipe")
    with Browser("mediapipe/webgpu", folder, "desktop-swiftshader") as opened:
        yield opened


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A tiny model, for one test to break."""
    return write(MediaPipeRecipe("int8").plan(tiny(MODELS["gemma-3-1b-it"])), tmp_path / "model")


def broken(browser: Browser, artifact: Artifact, content: bytes) -> dict[str, Any]:
    """A load of the artifact with other content."""
    artifact.entry_path.write_bytes(content)
    job = browser.job(artifact)
    job["source"]["files"][0]["bytes"] = len(content)
    return job


@pytest.mark.integration
def test_without_an_adapter(artifact: Artifact, tmp_path: Path) -> None:
    with Browser("mediapipe/webgpu", tmp_path, "desktop-webgl-only") as browser:
        judged = browser.load(browser.job(artifact)).judged
    assert judged.verdict is Verdict.UNSUPPORTED
    assert judged.explanation == "no WebGPU adapter"


@pytest.mark.integration
def test_a_tensor_that_is_missing(browser: Browser, artifact: Artifact) -> None:
    content = artifact.entry_path.read_bytes()
    name = b"x_layers_1.ff_layer.ffn_layer2.w\0"
    assert name in content
    job = broken(browser, artifact, content.replace(name, name.replace(b"2.w", b"9.w")))
    outcome = browser.load(job)
    assert outcome.judged.verdict is Verdict.INFRA
    assert outcome.judged.cause == "artifact"
    assert "Tensor size does not match: " in outcome.judged.explanation
    assert re.search(r"Expected \d+ but got 0", outcome.judged.explanation)
    # It does not notice when it loads, but with the first prompt.
    phases = [item.text("name") for item in outcome.evidence if item.kind is Kind.PHASE]
    assert phases[-1] == "first-token"
    assert outcome.log.tokens == []


@pytest.mark.integration
@pytest.mark.parametrize("size", [900_000, 1_500_000])
def test_a_file_that_is_cut_off(browser: Browser, artifact: Artifact, size: int) -> None:
    job = broken(browser, artifact, artifact.entry_path.read_bytes()[:size])
    outcome = browser.load(job, deadlines=Deadlines(30, 30))
    assert outcome.judged.verdict is Verdict.INFRA
    assert outcome.judged.cause == "artifact"
    assert "Data size is too small: " in outcome.judged.explanation


@pytest.mark.integration
def test_a_file_of_something_else(browser: Browser, artifact: Artifact) -> None:
    outcome = browser.load(broken(browser, artifact, bytes(2 << 20)))
    assert outcome.judged.verdict is Verdict.INFRA
    assert outcome.judged.cause == "artifact"
    assert "No model format matched." in outcome.judged.explanation


@pytest.mark.integration
def test_texts_of_any_vocabulary_are_counted_too(browser: Browser, tmp_path: Path) -> None:
    """As for the user's own files, whose texts tell nothing of tokens."""
    plan = MediaPipeRecipe("int4").plan(tiny(MODELS["gemma-2b"]))
    job = browser.job(write(plan, tmp_path / "model"))
    job["config"]["synthetic"] = False
    outcome = browser.load(job)
    assert outcome.judged.verdict is Verdict.OK, outcome.judged
    assert outcome.log.tokens == [-1] * COUNT
    assert outcome.log.prompt_tokens == 1 + len(PROMPT)


@pytest.mark.full
def test_a_tensor_above_the_adapters_limit(browser: Browser, tmp_path: Path) -> None:
    """The engine loads it "well", and its commands are rejected: never a good run."""
    model = replace(
        tiny(MODELS["gemma-2b"]), layers=1, hidden=4608, vocabulary=262_144
    )  # a table of 1.2 GB, where SwiftShader has buffers of 1 GiB
    plan = MediaPipeRecipe("int8").plan(model)
    artifact = write(plan, tmp_path / "model")
    outcome = browser.load(browser.job(artifact), deadlines=Deadlines(300, 300))
    assert outcome.judged.verdict is not Verdict.OK
    validation = [item for item in outcome.evidence if item.kind is Kind.VALIDATION]
    assert any("exceeds the max buffer size limit" in item.text("message") for item in validation)
