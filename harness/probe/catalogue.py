"""Write what the probe's page knows without measuring: models, engines, their recipes, file sizes.

    python -m harness.probe.catalogue            writes catalogue.json beside this module
    python -m harness.probe.catalogue --check    fails where that file is stale

Everything in it follows from `harness.models`, `harness.runtimes`, the writers of artifacts (which
plan, and write nothing) and the thresholds of `results.tiers`:

    version
    quantisations  {name: {bits, block}}
    models         {id: the shape as far as terms need it}
    tiers          {prefill and decode: [{tier, tokens_per_s}]}, rising
    recipes        {key: an `EngineRecipe`}; `context_tokens` null: as many as are asked for
    engines        {runtime: {
      backend, max_threads, needs_isolation,
      needs                of the environment (by its key in a report) or of the adapter's features
      needs_of             {quantisation: the same}, where only that one needs it
      quantisations, gpu   {quantisation: key of the recipe}: in general, and on a real GPU
      files                {model: {quantisation: bytes once loaded}}; what is absent cannot be run
      files_shader_f16     the same where other files are loaded with that feature
      largest_tensors      {model: {quantisation: bytes}}: what an adapter's maxBufferSize and
                           maxStorageBufferBindingSize must reach }}

Native engines are left out: a page cannot run them.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError
from harness.models import MODELS, QUANTISATIONS
from harness.probe.report import Adapter, Backends, Environment, ProbeReport, Unavailable
from harness.runtimes import RUNTIMES
from harness.runtimes.base import HALF_FLOATS, WebRuntime
from harness.runtimes.litert_lm_web import LiteRtLmWeb
from harness.runtimes.mediapipe import MediaPipe
from harness.weights.mediapipe.recipe import largest_tensor
from results.tiers import thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.runtimes.base import Runtime

CATALOGUE_VERSION: Final = 1
CATALOGUE_PATH: Final = Path(__file__).parent / "catalogue.json"

# What a device may lack, by the name that its report has for it.
_ENVIRONMENT: Final = ("wasm_simd", "wasm_memory64", "webgpu")
_FEATURES: Final = (HALF_FLOATS,)
_MANY_CORES: Final = 1024


def catalogue(models: Iterable[Architecture] | None = None) -> dict[str, Any]:
    """The whole content, with the file sizes of some models or of all."""
    sized = list(MODELS.values() if models is None else models)
    engines = {
        runtime.id: _engine(runtime, sized)
        for runtime in RUNTIMES.values()
        if isinstance(runtime, WebRuntime)
    }
    recipes = {
        recipe.key: _recipe(recipe)
        for runtime in RUNTIMES.values()
        if isinstance(runtime, WebRuntime)
        for name in runtime.quantisations
        for gpu in _kinds(runtime)
        for recipe in (runtime.engine(name, gpu=gpu),)
    }
    steps = thresholds()
    return {
        "version": CATALOGUE_VERSION,
        "quantisations": {
            q.name: {"bits": q.bits, "block": q.block} for q in QUANTISATIONS.values()
        },
        "models": {model.id: _model(model) for model in MODELS.values()},
        "tiers": {
            phase: [{"tier": str(s.tier), "tokens_per_s": s.tokens_per_s} for s in given]
            for phase, given in (("prefill", steps.prefill), ("decode", steps.decode))
        },
        "recipes": recipes,
        "engines": engines,
    }


def text_of(content: dict[str, Any]) -> str:
    """The file's text: compact, and a line for each entry of its parts, so that changes show."""
    parts = []
    for name, part in content.items():
        if isinstance(part, dict):
            inner = ",\n".join(
                f"{json.dumps(key)}:{_compact(value)}" for key, value in part.items()
            )
            parts.append(f"{json.dumps(name)}:{{\n{inner}\n}}")
        else:
            parts.append(f"{json.dumps(name)}:{_compact(part)}")
    return "{" + ",\n".join(parts) + "}\n"


@cache
def known_files() -> dict[str, dict[str, dict[str, int]]]:
    """The file sizes in the catalogue as it is stored, by runtime, model and quantisation."""
    try:
        engines = json.loads(CATALOGUE_PATH.read_text(encoding="utf-8"))["engines"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{CATALOGUE_PATH} cannot be read: {error}",
            "write it: python -m harness.probe.catalogue",
        ) from error
    return {
        f"{name}{ending}": engine[key]
        for name, engine in engines.items()
        for key, ending in (("files", ""), ("files_shader_f16", f":{HALF_FLOATS}"))
        if key in engine
    }


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _kinds(runtime: Runtime) -> tuple[bool, ...]:
    """Whether with a GPU: both, where the engine runs on one."""
    return (False, True) if runtime.backend == "webgpu" else (False,)


def _model(model: Architecture) -> dict[str, Any]:
    return {
        "aliases": list(model.aliases),
        "layers": model.layers,
        "hidden": model.hidden,
        "vocabulary": model.vocabulary,
        "kv_width": model.kv_width,
        "body_parameters": model.body_parameters,
        "embedding_parameters": model.embedding_parameters,
        "parameters": model.parameters,
        "largest_tensor_parameters": model.largest_tensor_parameters,
    }


def _recipe(recipe: EngineRecipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "backend": recipe.backend,
        "kernels": {
            name: {
                "body": kernels.body,
                "head": kernels.head,
                "product": kernels.product,
                **({"expand": kernels.expand} if kernels.expand else {}),
            }
            for name, kernels in recipe.kernels.items()
            if kernels is not None
        },
        "operations_per_layer": recipe.operations_per_layer,
        "operations_fixed": recipe.operations_fixed,
        "rows_together": recipe.rows_together,
        "prefill_multiple": recipe.prefill_multiple,
        "kv_element_bytes": recipe.kv_element_bytes,
        "context_tokens": recipe.context_tokens or None,
        "heap_bytes": recipe.heap_bytes,
        "heap_file": recipe.heap_file,
        "heap_largest": recipe.heap_largest,
        "binds_whole_tensors": recipe.binds_whole_tensors,
        "defaults": {
            str(quantity): {
                "factors": dict(default.factors),
                "low": default.low,
                "high": default.high,
            }
            for quantity, default in recipe.defaults.items()
        },
    }


def _engine(runtime: Runtime, models: Iterable[Architecture]) -> dict[str, Any]:
    able = _device()
    names = [q for q in runtime.quantisations if q in runtime.engine(q, gpu=False).kernels]
    most = runtime.threads(able)
    lacking = {
        need: found
        for need in (*_ENVIRONMENT, *_FEATURES)
        if (found := {name for name in names if _fails_without(runtime, name, need)})
    }
    everywhere = [need for need, found in lacking.items() if found == set(names)]
    only = {
        name: needs
        for name in names
        if (needs := [n for n, found in lacking.items() if n not in everywhere and name in found])
    }
    on_gpu = runtime.backend == "webgpu"
    content = {
        "backend": runtime.backend,
        "max_threads": most,
        "needs_isolation": runtime.threads(_device("cross_origin_isolated")) < most,
        "needs": everywhere,
        "needs_of": only,
        "quantisations": {name: runtime.engine(name, gpu=False).key for name in names},
        "gpu": {name: runtime.engine(name, gpu=True).key for name in names if on_gpu},
        **_files(runtime, names, models),
    }
    optional = ("needs_of", "gpu", "files_shader_f16", "largest_tensors")
    return {key: value for key, value in content.items() if value or key not in optional}


def _files(
    runtime: Runtime, names: Iterable[str], models: Iterable[Architecture]
) -> dict[str, dict[str, dict[str, int]]]:
    """What the engine loads of each model, on a device that lacks nothing."""
    able, without = _device(), _device(HALF_FLOATS)
    files: dict[str, dict[str, int]] = {}
    halves: dict[str, dict[str, int]] = {}
    largest: dict[str, dict[str, int]] = {}
    for model in models:
        for name in names:
            if runtime.unsupported(model, name, able) is not None:
                continue
            recipe, half = runtime.recipe(model, name, without), runtime.recipe(model, name, able)
            try:
                plain = recipe.plan(model).artifact.stored_bytes
            except UserError:
                continue  # no writer
            files.setdefault(model.id, {})[name] = plain
            if half != recipe:
                halves.setdefault(model.id, {})[name] = half.plan(model).artifact.stored_bytes
            if isinstance(runtime, MediaPipe | LiteRtLmWeb):
                largest.setdefault(model.id, {})[name] = largest_tensor(model, name)
    return {"files": files, "files_shader_f16": halves, "largest_tensors": largest}


def _fails_without(runtime: Runtime, quantisation: str, need: str) -> bool:
    """Whether an engine does not run such weights on a device that lacks just this."""
    able, poor = _device(), _device(need)
    taken = (m for m in MODELS.values() if not runtime.unsupported(m, quantisation, able))
    return any(runtime.unsupported(model, quantisation, poor) is not None for model in taken)


def _device(*lacks: str) -> ProbeReport:
    """The report of a device that has everything but these."""
    features = [feature for feature in _FEATURES if feature not in lacks]
    present = {
        name: name not in lacks
        for name in (
            "wasm",
            "wasm_threads",
            "cross_origin_isolated",
            "secure_context",
            *_ENVIRONMENT,
        )
    }
    environment: dict[str, Any] = {
        "user_agent": "",
        "hardware_concurrency": _MANY_CORES,
        "device_memory_gib": None,
        "js_heap_limit_bytes": None,
        **present,
    }
    adapter = Adapter(info={}, software=False, features=features, limits={})
    return ProbeReport(
        version=2,
        seed=0,
        budget_ms=0,
        total_ms=0,
        environment=Environment.model_validate(environment),
        backends=Backends(
            webgpu=Unavailable(available=False, reason="not measured", adapter=adapter)
        ),
        problems=[],
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or say whether it is stale."""
    parser = argparse.ArgumentParser(prog="python -m harness.probe.catalogue")
    parser.add_argument("--check", action="store_true", help="fail where the file is stale")
    asked = parser.parse_args(arguments)
    text = text_of(catalogue())
    if not asked.check:
        CATALOGUE_PATH.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{CATALOGUE_PATH}: {len(text)} bytes\n")
        return 0
    stored = CATALOGUE_PATH.read_text(encoding="utf-8") if CATALOGUE_PATH.is_file() else ""
    if stored == text:
        return 0
    sys.stderr.write(f"{CATALOGUE_PATH} is stale\n  -> python -m harness.probe.catalogue\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
