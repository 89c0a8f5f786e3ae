"""Tiny models through the trial page: worker, adapter and engine give native onnxruntime's tokens.

All loads on one backend share a browser, a new tab for each; what is compared is tokens only.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, Self

import pytest

from harness.devices.desktop import DesktopDevice
from harness.evidence import Timeline
from harness.load import Deadlines, full_load
from harness.models import MODELS
from harness.profiles import load_profiles
from harness.runtimes import find_runtime
from harness.verdict import judge
from harness.web.server import serve
from harness.weights.onnx_writer import tiny, write
from harness.weights.options import OnnxOptions
from results.record import Kind, Verdict
from tests.harness.weights.native import greedy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness.devices.desktop import DesktopSession
    from harness.load import LoadLog
    from harness.runtimes.base import Runtime
    from harness.verdict import Judged
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from results.record import Evidence

    Make = Callable[..., Artifact]

pytestmark = pytest.mark.integration

# Longer than the window of 8 that tiny models with local layers have.
PROMPT = [number * 7 % 1000 for number in range(20)]
COUNT = 8
MODEL_IDS = ("gemma-2b", "gemma-2-2b-it", "gemma-3-1b-it")
QUANTISATIONS = ("int4", "int8", "fp16")
PROFILES = {"wasm": "desktop", "webgpu": "desktop-swiftshader"}


class Browser:
    """One browser and the local server."""

    def __init__(self, backend: Literal["wasm", "webgpu"], folder: Path) -> None:
        self.runtime: Runtime = find_runtime(f"onnxruntime-web/{backend}")
        self._profile = load_profiles()[PROFILES[backend]]
        self._folder = folder
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._session: DesktopSession
        self.server: Server

    def __enter__(self) -> Self:
        self._runner.run(self._open())
        return self

    async def _open(self) -> None:
        enter = self._stack.enter_async_context
        self.server = await enter(serve())
        device = await enter(DesktopDevice(self._profile))
        self._deaths = Timeline()
        self._session = await enter(device.session(self._deaths, self._folder))

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    def config(self, artifact: Artifact, threads: int = 1) -> dict[str, Any]:
        """What a trial tells the adapter."""
        base = self.server.publish(artifact.key, artifact.directory)
        return self.runtime.config(artifact, base, threads)

    def load(self, config: dict[str, Any]) -> Outcome:
        """A full load."""
        return self._runner.run(self._load(config))

    async def _load(self, config: dict[str, Any]) -> Outcome:
        timeline = Timeline()
        log = await full_load(
            self._session,
            timeline,
            url=f"{self.server.url}/page/trial.html",
            job={
                "workload": "tiny",
                "adapter": self.runtime.adapter,
                "config": config,
                "prompt": PROMPT,
                "outputTokens": COUNT,
            },
            deadlines=Deadlines(60, 60),
            screenshot=self._folder / "screen.png",
            progress=lambda _: None,
        )
        return Outcome(log, (*self._deaths.items, *timeline.items))


class Outcome:
    """A finished load."""

    def __init__(self, log: LoadLog, evidence: tuple[Evidence, ...]) -> None:
        self.log = log
        self.evidence = evidence

    @property
    def judged(self) -> Judged:
        return judge(self.evidence)

    @property
    def error(self) -> str:
        """The page's one error, in words."""
        [error] = [item for item in self.evidence if item.kind is Kind.ENGINE_ERROR]
        return f"{error.text('name')}: {error.text('message')}"

    def assert_tokens(self, artifact: Artifact) -> None:
        """It went well, and the tokens are those of native onnxruntime."""
        assert self.judged.verdict is Verdict.OK, self.judged
        assert not [item for item in self.evidence if item.kind is Kind.VALIDATION]
        assert self.log.tokens == greedy(artifact, PROMPT, COUNT)
        assert self.log.bytes_loaded == artifact.total_bytes - artifact.files[0].bytes


@pytest.fixture(scope="module")
def wasm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser("wasm", tmp_path_factory.mktemp("wasm")) as browser:
        yield browser


@pytest.fixture(scope="module")
def webgpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser("webgpu", tmp_path_factory.mktemp("webgpu")) as browser:
        yield browser


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny models, each written once. Activations stay in float32, so that tokens can agree."""
    made: dict[tuple[str, OnnxOptions], Artifact] = {}

    def _make(model_id: str = "gemma-2-2b-it", **options: Any) -> Artifact:
        chosen = OnnxOptions(**{"accuracy_level": 0, **options})
        if (model_id, chosen) not in made:
            directory = tmp_path_factory.mktemp("models") / "model"
            made[model_id, chosen] = write(tiny(MODELS[model_id]), chosen, directory)
        return made[model_id, chosen]

    return _make


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_wasm_gives_native_tokens(
    wasm: Browser, make: Make, model_id: str, quantisation: str
) -> None:
    artifact = make(model_id, quantisation=quantisation)
    wasm.load(wasm.config(artifact, threads=1)).assert_tokens(artifact)


@pytest.mark.parametrize("model_id", MODEL_IDS)
def test_wasm_with_two_threads_gives_native_tokens(
    wasm: Browser, make: Make, model_id: str
) -> None:
    artifact = make(model_id)
    wasm.load(wasm.config(artifact, threads=2)).assert_tokens(artifact)


def test_weights_in_several_files(wasm: Browser, make: Make) -> None:
    artifact = make(shard_bytes=100_000)
    assert len(artifact.files) > 3
    wasm.load(wasm.config(artifact)).assert_tokens(artifact)


# Two are enough: compiling shaders for a GPU in software takes most of the time.
@pytest.mark.parametrize(
    ("model_id", "quantisation"), [("gemma-2-2b-it", "int4"), ("gemma-2b", "int8")]
)
def test_webgpu_gives_native_tokens(
    webgpu: Browser, make: Make, model_id: str, quantisation: str
) -> None:
    artifact = make(model_id, quantisation=quantisation)
    webgpu.load(webgpu.config(artifact)).assert_tokens(artifact)


def test_webgpu_without_f16_refuses_float16_weights(webgpu: Browser, make: Make) -> None:
    outcome = webgpu.load(webgpu.config(make(quantisation="fp16")))
    assert "requires f16 but the device does not support it" in outcome.error
    assert outcome.log.tokens == []


# ---- what goes wrong is said, and never becomes a measurement ----


def test_a_file_that_is_shorter_than_declared(wasm: Browser, make: Make) -> None:
    config = wasm.config(make())
    file = config["files"][0]
    file["bytes"] += 1
    outcome = wasm.load(config)
    assert outcome.error == f"Error: {file['url']}: ends after {file['bytes'] - 1} bytes"


def test_a_file_that_is_longer_than_declared(wasm: Browser, make: Make) -> None:
    config = wasm.config(make())
    config["files"][0]["bytes"] -= 1
    outcome = wasm.load(config)
    assert outcome.error == f"Error: {config['files'][0]['url']}: longer than declared"


def test_a_file_that_is_missing(wasm: Browser, make: Make) -> None:
    config = wasm.config(make())
    config["files"][0]["url"] += ".none"
    assert wasm.load(config).error == f"Error: {config['files'][0]['url']}: HTTP 404"


def test_a_graph_that_is_missing(wasm: Browser, make: Make) -> None:
    config = wasm.config(make())
    config["graph"] += ".none"
    outcome = wasm.load(config)
    # The engine fetches the graph itself; these are its words, whatever the file.
    assert outcome.error == f"Error: failed to load external data file: {config['graph']}"
    assert outcome.log.tokens == []


def test_an_engine_that_is_missing(wasm: Browser, make: Make) -> None:
    config = wasm.config(make())
    config["bundle"] += ".none"
    outcome = wasm.load(config)
    assert outcome.error.startswith("TypeError: Failed to fetch dynamically imported module")
    assert outcome.judged.verdict is not Verdict.OK


def test_logits_that_are_no_numbers(wasm: Browser, make: Make, tmp_path: Path) -> None:
    artifact = make(quantisation="fp16")
    broken = tmp_path / "broken"
    shutil.copytree(artifact.directory, broken)
    for file in artifact.files[1:]:
        # Every float16 and every float32 made of these bytes is NaN.
        (broken / file.name).write_bytes(b"\xff" * file.bytes)
    base = wasm.server.publish("broken", broken)
    outcome = wasm.load(wasm.runtime.config(artifact, base, 1))
    assert outcome.log.tokens == [-1]
    assert outcome.judged.cause == "not-finite"
