"""Capabilities: answers of the page as untrusted data, and the libraries in a real browser."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.capabilities import (
    Answer,
    ask_library,
    read_answer,
    refusal,
    relative_distance,
    run_native_layer,
)
from harness.capability_questions import QUESTIONS, Question, generation, layer, products
from harness.devices.desktop import DesktopDevice
from harness.laboratory import Laboratory, LaboratorySettings
from harness.models import MODELS, Workload, tiny
from harness.probe.report import ProbeReport, parse_report
from harness.profiles import load_profiles
from harness.runtimes import RUNTIMES
from harness.trial import TrialSettings
from harness.verdict import Judged
from harness.web.server import serve
from harness.weights.cache import ArtifactCache
from harness.weights.onnx.transformers_js import TransformersJsRecipe
from harness.weights.writing import write
from results.record import Verdict
from results.store import Store
from tests.harness.weights.onnx.native import greedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.weights.artifact import Artifact
    from results.capability import Capability

PROFILES = load_profiles()
PROBES = Path(__file__).parent / "probe" / "data"
FIGURE = {"name": "x", "unit": "s", "values": [1.0, 2.0]}
SMALL = {"rows": 3, "inner": 40, "columns": 50}


# ---- what a page may say ----


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ({"ok": {"figures": [FIGURE]}}, Verdict.OK),
        ({"unsupported": "no WebGPU adapter"}, Verdict.UNSUPPORTED),
        ({"wrong": "the sum of row 0 is 1"}, Verdict.CRASH),
    ],
)
def test_an_answer_has_a_verdict(said: dict[str, Any], verdict: Verdict) -> None:
    answer = read_answer(said)
    assert isinstance(answer, Answer)
    judged = answer.judged()
    assert judged is not None
    assert judged.verdict is verdict


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "ok",
        {},
        {"ok": None, "wrong": "x"},
        {"ok": {"figures": [FIGURE]}, "wrong": "both"},
        {"ok": {"figures": [{**FIGURE, "values": []}]}},
        {"ok": {"figures": [{**FIGURE, "values": [math.nan]}]}},
        {"ok": {"figures": [{**FIGURE, "values": [-1]}]}},
        {"ok": {"figures": [], "threads": 0}},
        {"ok": {"figures": [], "more": 1}},
        {"error": {"name": "Error", "message": "x" * 5000}},
    ],
)
def test_what_is_no_answer_is_the_labs_own_fault(said: Any) -> None:
    judged = read_answer(said)
    assert isinstance(judged, Judged)
    assert judged.verdict is Verdict.INFRA


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["ok", "error", "figures", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_any_answer_is_read(said: Any) -> None:
    assert isinstance(read_answer(said), Answer | Judged)


@pytest.mark.parametrize(
    ("output", "distance"),
    [([3.0, 4.0], 0.0), ([0.0, 0.0], 1.0), ([3.0], math.inf), (["a", "b"], math.inf),
     ([None, 1.0], math.inf), ([math.nan, 4.0], math.inf), (None, math.inf)],
)  # fmt: skip
def test_distance_of_outputs(output: Any, distance: float) -> None:
    assert relative_distance(output, [3.0, 4.0]) == pytest.approx(distance)


# ---- what is known before anything is downloaded ----


def report(*, simd: bool, webgpu: bool = False) -> ProbeReport:
    whole = parse_report((PROBES / "chromium_wasm.json").read_text(encoding="utf-8"))
    environment = whole.environment.model_copy(update={"wasm_simd": simd, "webgpu": webgpu})
    backends = whole.backends.model_copy(update={"webgpu": None})
    return whole.model_copy(update={"environment": environment, "backends": backends})


@pytest.mark.parametrize("name", [n for n, r in RUNTIMES.items() if r.backend != "native"])
def test_no_engine_is_offered_where_only_webgl_works(name: str) -> None:
    assert refusal(name, report(simd=False))


def test_an_engine_is_offered_where_it_may_run() -> None:
    assert refusal("onnxruntime-web/wasm", report(simd=True)) is None


def test_questions_know_their_obstacles() -> None:
    bare = report(simd=False)
    obstacles = {str(question): question.obstacle(bare) for question in QUESTIONS}
    assert {name for name, reason in obstacles.items() if reason is None} == {
        "tensorflow.js-cpu",
        "tensorflow.js-wasm",
        "tensorflow.js-webgl",
    }
    assert obstacles["litert.js-wasm"] == "the browser has no WebAssembly SIMD"
    assert obstacles["tensorflow.js-webgpu"] == "the browser has no WebGPU"


# ---- the libraries, in a real browser ----


def ask(
    profile: str,
    question: Question,
    folder: Path,
    artifact: Artifact | None = None,
    reference: Sequence[float] = (),
) -> tuple[Capability, dict[str, Any]]:
    async def run() -> tuple[Capability, dict[str, Any]]:
        async with serve() as server, DesktopDevice(PROFILES[profile]) as device:
            return await ask_library(
                device, server, question,
                artifact=artifact, run_id="run", results=folder, reference=reference,
            )  # fmt: skip

    return asyncio.run(run())


@pytest.mark.integration
@pytest.mark.parametrize(
    ("profile", "backend", "software"),
    [
        ("desktop", "cpu", None),
        ("desktop", "wasm", None),
        ("desktop-swiftshader", "webgpu", True),
        ("desktop-webgl-only", "webgl", True),
        ("desktop-webgl-only", "wasm", None),
    ],
)
def test_tensorflow_multiplies(
    tmp_path: Path, profile: str, backend: Any, software: bool | None
) -> None:
    question = replace(
        products(backend), argument={"shapes": [SMALL], "slowShapes": [SMALL], "budgetMs": 10}
    )
    found, _ = ask(profile, question, tmp_path)
    assert found.verdict is Verdict.OK, found.reason
    [figure] = found.figures
    assert figure.name == "3x40 by 40x50"
    assert figure.spread.n >= 3
    assert found.conditions.software_adapter is software
    assert ("software adapter" in found.marks) is bool(software)
    if backend == "wasm":
        assert found.variant == ("no SIMD" if profile == "desktop-webgl-only" else "SIMD")


@pytest.mark.integration
def test_transformers_gives_the_tokens_of_native_onnxruntime(tmp_path: Path) -> None:
    model = tiny(MODELS["gemma-3-270m"])
    asked = generation("wasm", model, output_tokens=6)
    recipe = TransformersJsRecipe(accuracy_level=0)
    artifact = write(recipe.plan(model), tmp_path / recipe.key(model))
    found, result = ask("desktop", asked, tmp_path / "results", artifact)
    assert found.verdict is Verdict.OK, found.reason
    assert result["tokens"] == greedy(artifact, asked.argument["ids"], 6)


@pytest.mark.integration
def test_litert_gives_the_output_of_the_native_engine(tmp_path: Path) -> None:
    asked = layer("wasm", tiny(MODELS["gemma-2b"]))
    artifact = asked.artifact(ArtifactCache(tmp_path / "cache"))
    assert artifact is not None

    async def native() -> tuple[Capability, list[float]]:
        async with DesktopDevice(PROFILES["desktop"]) as device:
            return await run_native_layer(device, asked, artifact, "run")

    reference, output = asyncio.run(native())
    assert reference.verdict is Verdict.OK, reference.reason
    found, _ = ask("desktop", asked, tmp_path / "results", artifact, output)
    assert found.verdict is Verdict.OK, found.reason
    assert "from the native engine's" in found.reason
    # Held against another output it is wrong.
    other, _ = ask("desktop", asked, tmp_path / "results", artifact, [x + 1 for x in output])
    assert other.verdict is Verdict.CRASH
    assert other.reason.startswith("a wrong result")


@pytest.mark.integration
def test_a_damaged_file_is_no_success(tmp_path: Path) -> None:
    asked = layer("wasm", tiny(MODELS["gemma-2b"]))
    artifact = asked.artifact(ArtifactCache(tmp_path / "cache"))
    assert artifact is not None
    artifact.entry_path.write_bytes(b"no model")
    found, _ = ask("desktop", asked, tmp_path / "results", artifact)
    assert found.verdict is Verdict.CRASH
    assert found.figures == ()


@pytest.mark.integration
def test_where_only_webgl_works_a_trial_is_unsupported_and_downloads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIERLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    settings = TrialSettings(run_id="run", results=tmp_path / "results", probe_budget_ms=200)
    profile = PROFILES["desktop-webgl-only"]
    with Store.open(settings.results) as store:
        store.start_run("run", "a command")
    with Laboratory(LaboratorySettings(settings)) as laboratory:
        workload = Workload("gemma-2b", "int4", "onnxruntime-web/wasm", 16, 8)
        record = laboratory.trial(profile, workload)
        refused = laboratory.refusals(profile)
    with Store.open(settings.results) as store:
        kept = store.capabilities(run_id="run")
    assert record.verdict is Verdict.UNSUPPORTED
    assert record.explanation == "the browser has no WebAssembly SIMD"
    assert record.artifact is None
    assert not (tmp_path / "cache").exists() or not any((tmp_path / "cache").glob("*/model*"))
    assert kept == refused
    assert {row.verdict for row in refused} == {Verdict.UNSUPPORTED}
    assert len(refused) == sum(runtime.backend != "native" for runtime in RUNTIMES.values())
