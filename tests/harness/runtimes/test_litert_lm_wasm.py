"""Tiny prefill/decode files through the trial page, on LiteRT-LM's processor backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.models import MODELS, tiny
from harness.runtimes import find_runtime
from harness.weights.mediapipe.recipe import MediaPipeRecipe
from harness.weights.tflite import PrefillDecodeRecipe
from harness.weights.tokenizer import BOS
from harness.weights.writing import write
from results.record import Verdict
from tests.harness.probe.samples import sample
from tests.harness.runtimes.browser import COUNT, PROMPT, Browser
from tests.harness.weights.tflite.reference import Reference
from tests.harness.weights.tflite.stored import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNTIME = "litert-lm/wasm"
GEMMA3 = tiny(MODELS["gemma-3-270m"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(RUNTIME, tmp_path_factory.mktemp("logs"), "desktop") as opened:
        yield opened


def test_it_says_what_it_cannot_run_before_a_download() -> None:
    runtime, report = find_runtime(RUNTIME), sample("chromium_wasm")

    assert runtime.unsupported(MODELS["gemma-3-270m"], "int8", report) is None
    assert "int8" in (runtime.unsupported(MODELS["gemma-3-270m"], "q4_k", report) or "")
    assert "its family is phi" in (runtime.unsupported(MODELS["phi-2"], "int8", report) or "")
    assert "above 2 GiB" in (runtime.unsupported(MODELS["gemma-2b"], "int8", report) or "")
    assert runtime.unsupported(MODELS["gemma-2b"], "int4", report) is None


@pytest.mark.integration
@pytest.mark.parametrize("quantisation", ["int8", "int4"])
def test_it_makes_the_reference_s_tokens(
    browser: Browser, quantisation: str, tmp_path: Path
) -> None:
    plan = PrefillDecodeRecipe(quantisation, prefill=(32,)).plan(GEMMA3)
    artifact = write(plan, tmp_path / "model")

    outcome = browser.load(browser.job(artifact))

    assert outcome.judged.verdict is Verdict.OK, outcome.judged
    tokens = outcome.log.tokens
    assert len(tokens) == COUNT
    assert outcome.log.bytes_loaded == artifact.total_bytes
    assert outcome.log.warm_ms
    content = artifact.entry_path.read_bytes()[plan.files[0].sections[3].offset :]
    logits = Reference(GEMMA3, read(content)).logits([BOS, *PROMPT, *tokens[:-1]])[len(PROMPT) :]
    chosen = logits[np.arange(COUNT), tokens]
    # Where a float32 of the engine falls on the other side of a step of int8, what follows differs
    # by as much: each token has to be the best but for that.
    assert (logits.max(axis=1) - chosen).max() < 0.5


@pytest.mark.integration
def test_a_file_for_the_gpu_is_refused_as_the_wrong_file(browser: Browser, tmp_path: Path) -> None:
    artifact = write(MediaPipeRecipe("int8", "litertlm").plan(GEMMA3), tmp_path / "model")

    outcome = browser.load(browser.job(artifact))

    assert outcome.judged.verdict is Verdict.INFRA, outcome.judged
