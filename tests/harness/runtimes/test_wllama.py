"""Tiny models through the trial page: wllama gives native llama.cpp's tokens, and says what fails.

All loads on one backend share a browser, a new tab for each.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from harness.models import MODELS, tiny
from harness.weights.gguf.recipe import GgufRecipe
from harness.weights.writing import write
from results.record import Kind, Verdict
from tests.harness.runtimes.browser import COUNT, PROMPT, Browser
from tests.harness.weights.gguf.native import Native

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.weights.artifact import Artifact
    from tests.harness.runtimes.browser import Outcome

    Make = Callable[..., Artifact]

pytestmark = pytest.mark.integration

CASES = (
    ("gemma-2b", "q4_k"),
    ("gemma-2-2b-it", "q8_0"),
    ("gemma-3-1b-it", "fp16"),
    ("qwen2.5-0.5b", "q4_0"),
)


@pytest.fixture(scope="module")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser("wllama/wasm", tmp_path_factory.mktemp("wasm"), "desktop") as browser:
        yield browser


@pytest.fixture(scope="module")
def webgpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("webgpu")
    with Browser("wllama/webgpu", folder, "desktop-swiftshader") as browser:
        yield browser


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny models, each written once."""
    made: dict[tuple[str, GgufRecipe], Artifact] = {}

    def _make(model_id: str = "gemma-2b", **options: Any) -> Artifact:
        recipe = GgufRecipe(**options)
        if (model_id, recipe) not in made:
            directory = tmp_path_factory.mktemp("models") / "model"
            made[model_id, recipe] = write(recipe.plan(tiny(MODELS[model_id])), directory)
        return made[model_id, recipe]

    return _make


def of(outcome: Outcome, kind: Kind) -> list[str]:
    """What the evidence of a kind says."""
    return [item.text("message") for item in outcome.evidence if item.kind is kind]


def assert_tokens(outcome: Outcome, artifact: Artifact) -> None:
    """It went well, and the tokens are those of native llama.cpp."""
    assert outcome.judged.verdict is Verdict.OK, outcome.judged
    assert outcome.log.tokens == Native(artifact).greedy(PROMPT, COUNT)
    assert outcome.log.prompt_tokens == len(PROMPT)
    assert outcome.log.bytes_loaded == artifact.total_bytes
    assert outcome.log.warm_ms


@pytest.mark.parametrize(("model_id", "quantisation"), CASES)
def test_tokens_are_those_of_native_llama_cpp(
    wasm: Browser, make: Make, model_id: str, quantisation: str
) -> None:
    artifact = make(model_id, quantisation=quantisation)
    assert_tokens(wasm.load(wasm.job(artifact, threads=1)), artifact)


def test_with_two_threads_and_several_files(wasm: Browser, make: Make) -> None:
    artifact = make("gemma-3-1b-it", quantisation="q8_0", split_bytes=1 << 19)
    assert len(artifact.files) > 2
    assert_tokens(wasm.load(wasm.job(artifact, threads=2)), artifact)


# ---- what goes wrong is said, and never becomes a measurement ----


def broken(artifact: Artifact, directory: Path, change: Callable[[bytes], bytes]) -> Artifact:
    """A copy with another content of its one file."""
    shutil.copytree(artifact.directory, directory)
    path = directory / artifact.entry
    path.write_bytes(change(path.read_bytes()))
    file = artifact.files[0].model_copy(update={"bytes": path.stat().st_size})
    return artifact.model_copy(
        update={"key": directory.name, "directory": directory, "files": (file,)}
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "data is not within the file bounds": lambda data: data[: len(data) // 2],
    "failed to read key-value pairs": lambda data: data[:20_000],
    "invalid magic characters": lambda data: b"GGML" + data[4:],
}


@pytest.mark.parametrize("says", DAMAGES)
def test_a_file_that_is_damaged(wasm: Browser, make: Make, tmp_path: Path, says: str) -> None:
    damaged = broken(make(), tmp_path / says.split(" ", maxsplit=1)[0], DAMAGES[says])
    outcome = wasm.load(wasm.job(damaged))
    assert says in outcome.error
    assert says in of(outcome, Kind.ARTIFACT_REFUSED)[0]
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.INFRA, "artifact")
    assert outcome.log.tokens == []


@pytest.mark.parametrize(("position", "says"), [(-1, "invalid split file"), (0, "illegal split")])
def test_a_missing_split(wasm: Browser, make: Make, position: int, says: str) -> None:
    job = wasm.job(make("gemma-3-1b-it", quantisation="q8_0", split_bytes=1 << 19))
    del job["source"]["files"][position]
    outcome = wasm.load(job)
    assert says in outcome.error
    assert outcome.judged.cause == "artifact"


def test_keys_and_values_that_do_not_fit(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    job["config"]["contextTokens"] = 1 << 24  # 8 GiB of them
    outcome = wasm.load(job)
    assert "failed to allocate buffer for kv cache" in outcome.error
    assert (outcome.judged.verdict, outcome.judged.cause) == (Verdict.OOM, "allocation-refused")


def test_a_prompt_that_does_not_fit(wasm: Browser, make: Make) -> None:
    job = wasm.job(make())
    job["config"]["contextTokens"] = 256
    job["prompt"]["text"] *= 20
    outcome = wasm.load(job)
    assert "exceeds the available context size" in outcome.error
    assert outcome.judged.verdict is Verdict.CRASH


def test_logits_that_are_no_numbers(wasm: Browser, make: Make, tmp_path: Path) -> None:
    # The last tensor is the last layer's: every float32 made of these bytes is NaN.
    artifact = make(quantisation="fp32")
    damaged = broken(artifact, tmp_path / "nan", lambda data: data[:-4096] + b"\xff" * 4096)
    outcome = wasm.load(wasm.job(damaged))
    assert outcome.judged.cause == "not-finite"


def test_an_adapter_without_half_floats_is_unsupported(webgpu: Browser, make: Make) -> None:
    outcome = webgpu.load(webgpu.job(make()))
    assert outcome.judged.verdict is Verdict.UNSUPPORTED
    assert "lacks shader-f16" in outcome.judged.explanation
    assert outcome.log.bytes_loaded == 0


def test_a_silent_fallback_to_the_cpu_is_seen(webgpu: Browser, make: Make) -> None:
    job = webgpu.job(make())
    job["config"]["needs"] = []
    outcome = webgpu.load(job)
    assert "weights are in: CPU" in of(outcome, Kind.CPU_FALLBACK)[0]
    assert outcome.judged.cause == "cpu-fallback"


def test_nothing_is_fetched_from_elsewhere(wasm: Browser, make: Make) -> None:
    wasm.load(wasm.job(make()))
    context = wasm._session._context
    assert context is not None
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    assert_tokens(wasm.load(wasm.job(make())), make())
    here = (wasm.server.url, f"blob:{wasm.server.url}")
    assert any(address.endswith("wllama.wasm") for address in asked)
    assert [address for address in asked if not address.startswith(here)] == []
