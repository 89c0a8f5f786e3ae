"""What is foreseen without a model file."""

from __future__ import annotations

import pytest

from harness.foresight import demand_of, foresee, foresee_by
from harness.models import MODELS, Workload
from harness.probe.calibrated import shipped
from harness.probe.predict import MemoryBudget, predict
from harness.probe.report import ProbeReport
from harness.runtimes import find_runtime
from harness.runtimes.base import engine_on
from tests.harness.fakes import REPORT

ROOM = MemoryBudget(64 << 30, "a large machine")
ENGINES = ("onnxruntime-web/wasm", "wllama/wasm")


def asked(model: str, quantisation: str, engine: str, variant: str = "") -> Workload:
    exact = find_runtime(engine).exact_quantisation(MODELS[model], quantisation)
    return Workload(model, exact, engine, 64, 32, variant=variant)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("variant", ["", "pruned-50"])
def test_it_is_the_prediction_of_the_trial(engine: str, variant: str) -> None:
    """The planned artifact has the size of the written one, and nothing is written."""
    report = ProbeReport.model_validate(REPORT)
    workload = asked("gemma-3-270m", "int8", engine, variant)
    runtime, model = find_runtime(engine), MODELS["gemma-3-270m"]
    artifact = runtime.recipe(model, workload.quantisation, report).plan(model).artifact
    demand = demand_of(workload, artifact.stored_bytes, 2)
    recipe = engine_on(runtime, workload.quantisation, report)
    expected = predict(report, demand, recipe, ROOM)
    assert foresee_by(report, workload, ROOM, None) == expected
    assert foresee(report, workload, ROOM) == predict(report, demand, recipe, ROOM, shipped())


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_no_engine_here_takes(engine: str) -> None:
    found = foresee(
        ProbeReport.model_validate(REPORT), asked("autoglm-phone-9b", "int4", engine), ROOM
    )
    assert found.verdict == "unsupported"
    assert "glm4" in found.reason
    assert "weights alone: 5.3 GB" in found.reason


def test_a_variant_that_cannot_be_written() -> None:
    found = foresee(
        ProbeReport.model_validate(REPORT),
        asked("gemma-3-270m", "int4", "wllama/wasm", "pruned-50"),
        ROOM,
    )
    assert found.verdict == "unsupported"
    assert "single zeros" in found.reason


def test_memory_that_does_not_suffice() -> None:
    small = MemoryBudget(1 << 30, "a small machine")
    found = foresee(
        ProbeReport.model_validate(REPORT), asked("gemma-2b", "int4", ENGINES[0]), small
    )
    assert found.verdict == "oom"
    assert "a small machine" in found.reason
