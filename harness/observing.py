"""From stored records to what calibration and evaluation learn from."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from harness.errors import UserError
from harness.models import find_model, find_quantisation
from harness.probe.catalogue import known_files
from harness.probe.predict import structural, sums_of
from harness.probe.report import ProbeReport
from harness.probe.terms import Demand, Speeds, bases, heap_need
from harness.profiles import load_profiles
from harness.runtimes import RUNTIMES
from harness.runtimes.base import HALF_FLOATS, engine_on
from harness.weights.variants import varied
from results.observation import Facts, Observation, Quantity
from results.record import Kind, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import Adapter
    from harness.profiles import Profile
    from harness.runtimes.base import Runtime
    from harness.weights.plan import Recipe
    from results.record import Record


_PLANNED: Final[dict[str, int]] = {}


def observe(record: Record) -> Observation | None:
    """One trial with the terms of today's engine recipes; `None` where there is nothing to learn.

    That is a trial that says nothing about its device, one without a probe report, and one of an
    app or a model that is not in the catalogue. `terms` has every candidate term of the recipe that
    can be computed from the stored report, which may be of any version. Its `prefill` of the first
    token is what the recipe's own factors predict: whoever fits prefill puts the prediction of that
    fit in its place.
    """
    if record.verdict in {Verdict.INFRA, Verdict.CASCADE} or record.probe is None:
        return None
    runtime = RUNTIMES.get(record.workload.runtime)
    if runtime is None:
        return None
    try:
        model = find_model(record.workload.model)
        quantisation = find_quantisation(record.workload.quantisation)
        report = ProbeReport.model_validate(record.probe)
    except (UserError, ValidationError):
        return None
    asked, conditions = record.workload, record.conditions
    recipe = engine_on(runtime, quantisation.name, report)
    file_bytes = _file_bytes(record, runtime, model, report)
    demand = Demand(
        model=model,
        quantisation=quantisation,
        prompt_tokens=asked.prompt_tokens,
        output_tokens=asked.output_tokens,
        file_bytes=file_bytes,
        threads=conditions.threads or runtime.threads(report),
    )
    obstacle = runtime.unsupported(model, quantisation.name, report)
    heap = None if recipe.heap_bytes is None else (heap_need(recipe, demand), recipe.heap_bytes)
    artifact, measured = record.artifact, record.measurement
    return Observation(
        trial_id=record.trial_id,
        device=record.device.profile,
        host=record.device.host,
        recipe=recipe.key,
        runtime=runtime.id,
        model=model.id,
        quantisation=quantisation.name,
        threads=demand.threads,
        prompt_tokens=demand.prompt_tokens,
        output_tokens=demand.output_tokens,
        file_bytes=file_bytes,
        decode_bytes=model.decode_parameters * quantisation.bits // 8,
        memory_limit_bytes=_limit(record),
        too_much=obstacle or structural(report, demand, recipe),
        heap_bytes=heap if file_bytes else None,
        verdict=record.verdict,
        terms=terms_of(report, demand, recipe) if file_bytes else {},
        measured=measured_of(record),
        facts=_facts(report, recipe, demand.threads),
        probe_seconds=report.total_ms / 1000,
        load_bytes=(measured.bytes_loaded if measured else 0)
        or (artifact.total_bytes if artifact else 0),
        vector=_vector(report),
        trusted=_trusted(record),
    )


def terms_of(
    report: ProbeReport, demand: Demand, recipe: EngineRecipe
) -> dict[Quantity, dict[str, float]]:
    """The bases of all candidate terms that can be computed."""
    speeds = Speeds.of(report, recipe.backend, demand.threads)
    prefill = sums_of(report, demand, recipe, None).get(Quantity.PREFILL)
    found = {
        quantity: bases(
            quantity,
            names,
            speeds,
            recipe,
            demand,
            prefill_seconds=prefill.interval.expected if prefill else None,
        )
        for quantity, names in recipe.terms.items()
    }
    return {
        quantity: {term: base for term, base in terms.items() if base is not None}
        for quantity, terms in found.items()
    }


def measured_of(record: Record) -> dict[Quantity, float]:
    """What a load that ran measured: seconds, and bytes of memory.

    Nothing is taken of one that died: much of its time went into looking for memory.
    """
    measured = record.measurement
    if measured is None or record.verdict is not Verdict.OK:
        return {}
    parts = (measured.download_seconds, measured.create_seconds)
    known = [part for part in parts if part is not None]
    decode = measured.mean_decode_ms
    values = {
        Quantity.LOAD: sum(known) if len(known) == len(parts) else None,
        Quantity.FIRST_TOKEN: measured.first_token_seconds,
        Quantity.PREFILL: measured.warm_first_token_seconds or measured.first_token_seconds,
        Quantity.DECODE: None if decode is None else decode / 1000,
        Quantity.MEMORY: float(measured.memory.engine_bytes),
    }
    return {
        quantity: value
        for quantity, value in values.items()
        if value is not None and math.isfinite(value) and value > 0
    }


def _trusted(record: Record) -> bool:
    """Whether nothing speaks against the figures: another load on the host, or heat."""
    hot = any(item.kind is Kind.THROTTLED for item in record.evidence)
    return record.conditions.host_at_rest is not False and not hot


def _limit(record: Record) -> int | None:
    """What the engine's processes could use, as the trial's own prediction took it."""
    if record.device.memory_limit_bytes is not None:
        return record.device.memory_limit_bytes
    profile = _profiles().get(record.device.profile)
    if profile is not None and profile.app_memory is not None:
        return profile.app_memory.available
    return record.conditions.memory_bytes or None


@cache
def _profiles() -> Mapping[str, Profile]:
    return load_profiles()


def _file_bytes(record: Record, runtime: Runtime, model: Architecture, report: ProbeReport) -> int:
    """The weights once loaded, as predictions count them; 0 where no artifact was planned."""
    artifact, asked = record.artifact, record.workload
    if artifact is None:
        return 0
    if artifact.kind == "synthetic":
        adapter = _adapter(report)
        half = adapter is not None and HALF_FLOATS in adapter.features
        for ending in (f":{HALF_FLOATS}", "") if half else ("",):
            known = known_files().get(runtime.id + ending, {}).get(model.id, {})
            if not asked.variant and asked.quantisation in known:
                return known[asked.quantisation]
        try:
            recipe = varied(runtime.recipe(model, asked.quantisation, report), asked.variant)
            return _planned(recipe, model)
        except UserError:
            pass  # a writer that was, and is no longer
    return artifact.total_bytes


def _planned(recipe: Recipe, model: Architecture) -> int:
    """What a plan says, remembered: one can take a second."""
    key = recipe.key(model)
    if key not in _PLANNED:
        _PLANNED[key] = recipe.plan(model).artifact.stored_bytes
    return _PLANNED[key]


def _adapter(report: ProbeReport) -> Adapter | None:
    webgpu = report.backends.webgpu
    return webgpu.adapter if webgpu is not None else None


def _facts(report: ProbeReport, recipe: EngineRecipe, threads: int) -> Facts:
    """What simpler rules would go by."""
    here, adapter = report.environment, _adapter(report)
    speeds = Speeds.of(report, recipe.backend, threads)
    wasm = Speeds.of(report, "wasm", threads)
    multiply = speeds.seconds("gemm_m16" if recipe.backend == "wasm" else "matmul")
    stream = wasm.seconds("stream")
    return Facts(
        hardware_concurrency=here.hardware_concurrency,
        device_memory_gib=here.device_memory_gib,
        max_buffer_bytes=adapter.limit("maxBufferSize") if adapter else None,
        max_binding_bytes=adapter.limit("maxStorageBufferBindingSize") if adapter else None,
        stream_bytes_per_s=1 / stream if stream else None,
        multiply_flops_per_s=1 / multiply if multiply else None,
        duty=speeds.duty if speeds.kernels else None,
        software_adapter=adapter.software if adapter else None,
    )


def _vector(report: ProbeReport) -> dict[str, float]:
    """log2 of every kernel's rate: of one thread, of as many as were probed, and of WebGPU."""
    sides = {"wasm-1": Speeds.of(report, "wasm", 1), "webgpu": Speeds.of(report, "webgpu", 1)}
    wasm = report.backends.wasm
    if wasm is not None and wasm.available:
        most = max(phase.threads for phase in wasm.phases)
        if most > 1:
            sides["wasm-n"] = Speeds.of(report, "wasm", most)
    return {
        f"{side}.{name}": -math.log2(seconds)
        for side, speeds in sides.items()
        for name in sorted(speeds.kernels)
        if (seconds := speeds.barrier() if name == "barrier" else speeds.seconds(name))
    }
