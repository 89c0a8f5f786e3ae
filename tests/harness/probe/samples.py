"""Real reports of the probe, and engines as runtimes describe them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.models import MODELS, find_quantisation
from harness.probe.report import ProbeReport, parse_report
from harness.probe.terms import Demand
from harness.runtimes import find_runtime
from harness.runtimes.onnxruntime_web_recipe import engine_recipe

if TYPE_CHECKING:
    from harness.probe.recipe import EngineRecipe

DATA = Path(__file__).parent / "data"

ORT_WEB_WASM = engine_recipe("wasm", "int4", gpu=False)
ORT_WEB_WEBGPU = engine_recipe("webgpu", "int4", gpu=False)

# What the reports of version 1 lack, in the unit of each: as in a report of version 2, from a
# machine twice as fast. Barriers are slower, so that they count.
_NEW_WASM: Final[dict[str, tuple[str, float]]] = {
    "dot_q4_k": ("bytes_per_s", 0.73e9),
    "simd_int8": ("bytes_per_s", 13.6e9),
    "simd_int4": ("bytes_per_s", 6.2e9),
    "copy": ("bytes_per_s", 12e9),
    "attention": ("bytes_per_s", 13e9),
    "small_ops": ("op_us", 25.0),
}
_NEW_WEBGPU: Final[dict[str, tuple[str, float]]] = {
    "rebind_chain": ("op_us", 3.0),
}


def sample(name: str) -> ProbeReport:
    """A report as a browser gave it, of version 1."""
    return parse_report((DATA / f"{name}.json").read_bytes())


@cache
def second(name: str) -> ProbeReport:
    """The same report with the kernels of version 2 beside those that were measured."""
    data: dict[str, Any] = sample(name).model_dump()
    data["version"] = 2
    wasm, webgpu = data["backends"]["wasm"], data["backends"]["webgpu"]
    for phase in wasm["phases"] if wasm else ():
        phase["drift"] = 1.02
        several = phase["threads"] > 1
        for kernel, (unit, value) in _NEW_WASM.items():
            rate = value * phase["threads"] if unit == "bytes_per_s" else value
            phase["kernels"][kernel] = _kernel(unit, rate)
        if several:
            phase["kernels"]["barrier"] = _kernel("op_us", 6.0)
    if webgpu:
        kernels = webgpu["kernels"]
        kernels["gemv_int8"] = kernels["gemv_int4"]
        if "shader-f16" in webgpu["adapter"]["features"]:
            kernels["gemv_f16"] = kernels["gemv_int4"]
        for kernel, (unit, value) in _NEW_WEBGPU.items():
            kernels[kernel] = _kernel(unit, value)
        webgpu |= {"duty": 1.0, "drift": 1.0}
    return ProbeReport.model_validate(data)


def demand(
    model: str = "gemma-3-270m",
    quantisation: str = "int4",
    *,
    prompt: int = 32,
    output: int = 8,
    threads: int = 2,
    file_bytes: int | None = None,
) -> Demand:
    """What is asked for; the file has the weights and 4-byte scales where it is not said."""
    stored, shape = find_quantisation(quantisation), MODELS[model]
    known = shape.weight_bytes(stored, scale_bytes=4) if file_bytes is None else file_bytes
    return Demand(shape, stored, prompt, output, known, threads)


def engine(runtime: str, quantisation: str, *, gpu: bool = False) -> EngineRecipe:
    return find_runtime(runtime).engine(quantisation, gpu=gpu)


def _kernel(unit: str, value: float) -> dict[str, Any]:
    return {
        unit: {"n": 3, "median": value, "p10": 0.95 * value, "p90": 1.05 * value},
        "slices": 9,
    }
