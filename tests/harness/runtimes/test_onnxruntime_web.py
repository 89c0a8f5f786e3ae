"""Tiny models through the trial page: worker, adapter and engine give native onnxruntime's tokens.

All loads on one backend share a browser, a new tab for each; what is compared is tokens only.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from harness.models import MODELS, tiny
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.writing import write
from results.record import Kind, Verdict
from tests.harness.runtimes.browser import COUNT, PROMPT, Browser
from tests.harness.weights.onnx.native import greedy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.weights.artifact import Artifact
    from tests.harness.runtimes.browser import Outcome

    Make = Callable[..., Artifact]

pytestmark = pytest.mark.integration

MODEL_IDS = ("gemma-2b", "gemma-2-2b-it", "gemma-3-1b-it")
QUANTISATIONS = ("int4", "int8", "fp16")


def assert_tokens(outcome: Outcome, artifact: Artifact) -> None:
    """It went well, and the tokens are those of native onnxruntime."""
    assert outcome.judged.verdict is Verdict.OK, outcome.judged
    assert not [item for item in outcome.evidence if item.kind is Kind.VALIDATION]
    assert outcome.log.tokens == greedy(artifact, PROMPT, COUNT)
    assert outcome.log.bytes_loaded == artifact.total_bytes
    assert outcome.log.warm_ms


@pytest.fixture(scope="module")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser("onnxruntime-web/wasm", tmp_path_factory.mktemp("wasm"), "desktop") as browser:
        yield browser


@pytest.fixture(scope="module")
def webgpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("webgpu")
    with Browser("onnxruntime-web/webgpu", folder, "desktop-swiftshader") as browser:
        yield browser


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny models, each written once. Activations stay in float32, so that tokens can agree."""
    made: dict[tuple[str, OnnxRecipe], Artifact] = {}

    def _make(model_id: str = "gemma-2-2b-it", **options: Any) -> Artifact:
        chosen = OnnxRecipe(**{"accuracy_level": 0, **options})
        if (model_id, chosen) not in made:
            directory = tmp_path_factory.mktemp("models") / "model"
            made[model_id, chosen] = write(chosen.plan(tiny(MODELS[model_id])), directory)
        return made[model_id, chosen]

    return _make


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_wasm_gives_native_tokens(
    wasm: Browser, make: Make, model_id: str, quantisation: str
) -> None:
    artifact = make(model_id, quantisation=quantisation)
    assert_tokens(wasm.load(wasm.job(artifact, threads=1)), artifact)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_wasm_with_two_threads_gives_native_tokens(
    wasm: Browser, make: Make, model_id: str
) -> None:
    artifact = make(model_id)
    assert_tokens(wasm.load(wasm.job(artifact, threads=2)), artifact)


def test_weights_in_several_files(wasm: Browser, make: Make) -> None:
    artifact = make(shard_bytes=100_000)
    assert len(artifact.files) > 3
    assert_tokens(wasm.load(wasm.job(artifact)), artifact)


# Two are enough: compiling shaders for a GPU in software takes most of the time.
@pytest.mark.parametrize(
    ("model_id", "quantisation"), [("gemma-2-2b-it", "int4"), ("gemma-2b", "int8")]
)
def test_webgpu_gives_native_tokens(
    webgpu: Browser, make: Make, model_id: str, quantisation: str
) -> None:
    artifact = make(model_id, quantisation=quantisation)
    assert_tokens(webgpu.load(webgpu.job(artifact)), artifact)


def test_webgpu_without_f16_refuses_float16_weights(webgpu: Browser, make: Make) -> None:
    outcome = webgpu.load(webgpu.job(make(quantisation="fp16")))
    assert "requires f16 but the device does not support it" in outcome.error
    assert outcome.log.tokens == []


# ---- what goes wrong is said, and never becomes a measurement ----


def test_a_file_that_is_shorter_than_declared(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    file = job["source"]["files"][1]
    file["bytes"] += 1
    outcome = wasm.load(job)
    ends = f"ends after {file['bytes'] - 1} of {file['bytes']} bytes"
    assert outcome.error == f"Error: {file['name']}: {ends}"


def test_a_file_that_is_longer_than_declared(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    file = job["source"]["files"][1]
    file["bytes"] -= 1
    outcome = wasm.load(job)
    assert outcome.error == f"Error: {file['name']}: longer than {file['bytes']} bytes"


def test_a_file_that_is_missing(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    file = job["source"]["files"][1]
    file["url"] += ".none"
    assert wasm.load(job).error == f"Error: {file['url']}: HTTP 404"


def test_a_graph_that_is_missing(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    job["source"]["files"][0]["url"] += ".none"
    outcome = wasm.load(job)
    assert outcome.error == f"Error: {job['source']['files'][0]['url']}: HTTP 404"
    assert outcome.log.tokens == []


def test_an_engine_that_is_missing(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    job["config"]["bundle"] += ".none"
    outcome = wasm.load(job)
    assert outcome.error.startswith("TypeError: Failed to fetch dynamically imported module")
    assert outcome.judged.verdict is not Verdict.OK


def test_logits_that_are_no_numbers(wasm: Browser, make: Make, tmp_path: Path) -> None:
    artifact = make(quantisation="fp16")
    broken = tmp_path / "broken"
    shutil.copytree(artifact.directory, broken)
    for file in artifact.files[1:]:
        # Every float16 and every float32 made of these bytes is NaN.
        (broken / file.name).write_bytes(b"\xff" * file.bytes)
    outcome = wasm.load(
        wasm.job(artifact.model_copy(update={"key": "broken", "directory": broken}))
    )
    assert outcome.log.tokens == [-1]
    assert outcome.judged.cause == "not-finite"
