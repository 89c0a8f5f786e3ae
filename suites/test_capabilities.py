"""What a browser can do with the other libraries of the field, and which engines it rules out.

A row is right when the library does what the browser lets it, or when what the browser lacks was
known before anything was downloaded. Every row is stored, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness.capability_questions import QUESTIONS, generation, layer, products
from harness.models import MODELS
from harness.runtimes import RUNTIMES
from results.record import Verdict

if TYPE_CHECKING:
    from harness.capability_questions import Question
    from harness.laboratory import Laboratory
    from harness.profiles import Profile


def _without_simd(profile: Profile) -> bool:
    return any("--no-enable-sse4-1" in word for word in profile.browser.args)


def _full(profile: Profile) -> bool:
    return profile.browser.engine == "chromium" and not _without_simd(profile)


def _check(laboratory: Laboratory, profile: Profile, question: Question) -> None:
    obstacle = question.obstacle(laboratory.probe(profile))
    if obstacle is not None:
        assert laboratory.refused(profile, question, obstacle).verdict is Verdict.UNSUPPORTED
        return
    capability = laboratory.capability(profile, question)
    assert capability.verdict is Verdict.OK, (
        f"{capability.library} on {capability.backend}: {capability.verdict}: {capability.reason}"
    )
    assert capability.figures


@pytest.mark.parametrize("question", QUESTIONS, ids=str)
def test_a_library_does_what_the_browser_lets_it(
    laboratory: Laboratory, profile: Profile, question: Question
) -> None:
    """Artifacts are tiny; matrices have the shapes of models."""
    _check(laboratory, profile, question)


@pytest.mark.devices(where=_without_simd)
def test_no_engine_is_offered_without_webgpu_and_simd(
    laboratory: Laboratory, profile: Profile
) -> None:
    """Every engine for language models says what it lacks, and nothing is downloaded for it."""
    refused = laboratory.refusals(profile)
    in_browser = {name for name, runtime in RUNTIMES.items() if runtime.backend != "native"}
    assert {f"{row.library}/{row.backend}" for row in refused} == in_browser
    assert all(row.reason for row in refused)


@pytest.mark.full
@pytest.mark.devices(where=_full)
@pytest.mark.parametrize(
    "question",
    [
        products("cpu", full=True),
        products("webgl", full=True),
        products("webgpu", full=True),
        generation("wasm", MODELS["gemma-3-270m"], output_tokens=8),
        layer("wasm", MODELS["gemma-3-270m"]),
        layer("webgpu", MODELS["gemma-3-270m"]),
    ],
    ids=str,
)
def test_a_library_does_it_in_real_size(
    laboratory: Laboratory, profile: Profile, question: Question
) -> None:
    """Matrices of gemma-2b on every backend; gemma-3-270m whole, and a layer of it."""
    _check(laboratory, profile, question)
