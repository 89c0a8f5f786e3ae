"""The worked example of a new engine, as a user would add it: it must go through a whole trial."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import harness.runtimes
from harness.devices.desktop import DesktopDevice
from harness.models import MODELS, Workload, tiny
from harness.profiles import load_profiles
from harness.trial import TrialSettings, run_trial
from harness.web.server import serve
from harness.weights.writing import write
from results.record import Verdict

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe
    from results.record import Record

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

pytestmark = pytest.mark.integration


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """The example, registered, and a model that it takes."""
    spec = importlib.util.spec_from_file_location("parrot", EXAMPLES / "parrot.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "parrot", module)
    spec.loader.exec_module(module)
    for runtime in module.RUNTIMES:
        # Its adapter lies beside it, and not among those of the project.
        served = replace(runtime, adapter=runtime.adapter.replace("/adapters/", "/examples/"))
        monkeypatch.setitem(harness.runtimes.RUNTIMES, runtime.id, served)
    model = tiny(MODELS["gemma-2b"])
    monkeypatch.setitem(MODELS, model.id, model)
    return model


def trial(model: str, folder: Path) -> Record:
    def artifact(recipe: Recipe) -> Artifact:
        return write(recipe.plan(MODELS[model]), folder / "model")

    async def run() -> Record:
        async with (
            serve(extra={"/examples/": EXAMPLES}) as server,
            DesktopDevice(load_profiles()["desktop"]) as device,
        ):
            return await run_trial(
                device,
                Workload(model, "int4", "parrot/wasm", 4, 6),
                artifact_source=artifact,
                server=server,
                settings=TrialSettings("run", folder, probe_budget_ms=200),
            )

    return asyncio.run(run())


def test_the_example_goes_through_a_trial(parrot: Architecture, tmp_path: Path) -> None:
    record = trial(parrot.id, tmp_path)
    assert record.verdict is Verdict.OK, record.explanation
    assert record.prediction.verdict == "ok"
    assert record.measurement is not None
    assert record.measurement.tokens == (286, 293, 300, 307, 286, 293)
    assert record.measurement.warm_first_token_seconds is not None
    assert record.conditions.runtime_version == "1.0"


@pytest.mark.usefixtures("parrot")
def test_what_it_does_not_take_is_told_before_any_download(tmp_path: Path) -> None:
    record = trial("gemma-2b", tmp_path)
    assert record.verdict is Verdict.UNSUPPORTED
    assert record.explanation == "parrots remember ten million weights at most"
    assert record.artifact is None
