"""The model files that a grid needs, known without a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from harness.models import find_model
from harness.probe.report import Adapter, Backends, Environment, ProbeReport, Unavailable
from harness.runtimes import find_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.grid.plan import Cell
    from harness.weights.cache import ArtifactCache
    from harness.weights.plan import Recipe

# A device that has what engines need and whose WebGPU has no half floats, as the stand-ins are: it
# only decides in which form a model is written.
STAND_IN: Final = ProbeReport(
    version=1,
    seed=0,
    budget_ms=0,
    total_ms=0,
    environment=Environment(
        user_agent="",
        hardware_concurrency=1,
        device_memory_gib=None,
        cross_origin_isolated=True,
        secure_context=True,
        js_heap_limit_bytes=None,
        wasm=True,
        wasm_simd=True,
        wasm_threads=True,
        wasm_memory64=True,
        webgpu=True,
    ),
    backends=Backends(
        webgpu=Unavailable(
            available=False,
            reason="not measured",
            adapter=Adapter(info={}, software=True, features=[], limits={}),
        )
    ),
    problems=[],
)


@dataclass(frozen=True, slots=True)
class Need:
    """One model file: of which model, how it is made, how large it is, and whether it is there."""

    model: str
    recipe: Recipe
    key: str
    total_bytes: int
    made: bool


def needed(cells: Iterable[Cell], cache: ArtifactCache) -> list[Need]:
    """The files that these cells load, each once. What an engine cannot take needs none."""
    found: dict[str, Need] = {}
    for workload in dict.fromkeys(cell.workload for cell in cells):
        runtime, model = find_runtime(workload.runtime), find_model(workload.model)
        if runtime.unsupported(model, workload.quantisation, STAND_IN):
            continue
        recipe = runtime.recipe(model, workload.quantisation, STAND_IN)
        key = recipe.key(model)
        if key in found:
            continue
        there = cache.find(key)
        size = there.total_bytes if there else recipe.plan(model).total_bytes
        found[key] = Need(model.id, recipe, key, size, there is not None)
    return list(found.values())


def missing_engines(cells: Iterable[Cell]) -> None:
    """Refuse a grid whose engines are not installed.

    Raises:
        UserError: one is not; the message says how it is.
    """
    for name in dict.fromkeys(cell.workload.runtime for cell in cells):
        if reason := find_runtime(name).missing():
            raise UserError(f"runtime {name!r} cannot be used: {reason}")
