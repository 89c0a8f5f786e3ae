"""LiteRT-LM on WebGPU: the tokens of MediaPipe's engine on the same weights, and how it fails.

Compiling shaders for a GPU in software takes most of the time, hence one good load an engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.models import MODELS, tiny
from harness.weights.mediapipe.recipe import MediaPipeRecipe
from harness.weights.tokenizer import FIRST_WORD
from harness.weights.writing import write
from results.record import Kind, Verdict
from tests.harness.runtimes.browser import COUNT, PROMPT, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Literal

    from harness.weights.artifact import Artifact
    from tests.harness.runtimes.browser import Outcome

pytestmark = pytest.mark.integration

MODEL = tiny(MODELS["gemma-2b"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("litert-lm")
    with Browser("litert-lm/webgpu", folder, "desktop-swiftshader") as opened:
        yield opened


def make(folder: Path, container: Literal["task", "litertlm"]) -> Artifact:
    return write(MediaPipeRecipe("int4", container).plan(MODEL), folder / container)


def assert_good(outcome: Outcome) -> None:
    assert outcome.judged.verdict is Verdict.OK, outcome.judged
    assert not [item for item in outcome.evidence if item.kind is Kind.VALIDATION]
    assert len(outcome.log.tokens) == COUNT
    assert all(FIRST_WORD <= token < MODEL.vocabulary for token in outcome.log.tokens)
    # The engines put a start token before the prompt.
    assert outcome.log.prompt_tokens == 1 + len(PROMPT)


def test_both_engines_give_the_same_tokens(browser: Browser, tmp_path: Path) -> None:
    lite = browser.load(browser.job(make(tmp_path, "litertlm")))
    assert_good(lite)
    with Browser("mediapipe/webgpu", tmp_path, "desktop-swiftshader") as other:
        mediapipe = other.load(other.job(make(tmp_path, "task")))
    assert_good(mediapipe)
    assert lite.log.tokens == mediapipe.log.tokens
    # A model that does nothing but repeat itself would agree with itself whatever is wrong.
    assert len(set(lite.log.tokens)) > COUNT // 2


def test_a_tensor_that_is_missing(browser: Browser, tmp_path: Path) -> None:
    artifact = make(tmp_path, "litertlm")
    content = artifact.entry_path.read_bytes()
    name = b"x_layers_1.ff_layer.ffn_layer2.w\0"
    assert name in content
    artifact.entry_path.write_bytes(content.replace(name, name.replace(b"2.w", b"9.w")))
    outcome = browser.load(browser.job(artifact))
    assert outcome.judged.verdict is Verdict.INFRA
    assert outcome.judged.cause == "artifact"
    assert "Tensor size does not match: " in outcome.error
    # Unlike MediaPipe's engine it notices when it loads.
    assert outcome.log.phases[-1].name != "first-token"
    assert outcome.log.tokens == []


def test_a_file_of_something_else(browser: Browser, tmp_path: Path) -> None:
    artifact = make(tmp_path, "litertlm")
    artifact.entry_path.write_bytes(bytes(artifact.total_bytes))
    outcome = browser.load(browser.job(artifact))
    assert outcome.judged.cause == "artifact"
    assert "Invalid magic number. Expected 'LITERTLM'" in outcome.error


def test_web_weights_on_the_processor(browser: Browser, tmp_path: Path) -> None:
    job = browser.job(make(tmp_path, "litertlm"))
    job["config"]["backend"] = "wasm"
    outcome = browser.load(job)
    assert outcome.judged.cause == "artifact"
    assert "TF_LITE_PREFILL_DECODE not found in the model." in outcome.error


def test_without_an_adapter(tmp_path: Path) -> None:
    with Browser("litert-lm/webgpu", tmp_path, "desktop-webgl-only") as without:
        judged = without.load(without.job(make(tmp_path, "litertlm"))).judged
    assert judged.verdict is Verdict.UNSUPPORTED
    assert judged.explanation == "no WebGPU adapter"
