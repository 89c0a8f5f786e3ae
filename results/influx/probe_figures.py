"""What a probe report says, flat: for lines of a database.

A report is a device's own word, kept in the record as it came. It is read with suspicion: whatever
is not of the kind that was expected counts as not said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from results.influx.schema import KERNELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Values = dict[str, object]

# A report has two phases; a hostile one may have any number.
_MOST_PHASES: Final = 8
_MOST_THREADS: Final = 1024

_ENVIRONMENT: Final = (
    "hardware_concurrency",
    "device_memory_gib",
    "js_heap_limit_bytes",
    "wasm_simd",
    "wasm_threads",
    "wasm_memory64",
    "webgpu",
)


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """One backend, of WebAssembly at one number of threads; `values` is named as the fields are."""

    backend: str
    threads: int | None
    software_adapter: bool
    values: Values = field(default_factory=dict)


def probe_points(report: Mapping[str, Any] | None) -> Iterator[ProbePoint]:
    """The points of a report; none for what is no report."""
    page = _mapping(report)
    if not page:
        return
    environment = _mapping(page.get("environment"))
    problems = page.get("problems")
    everywhere: Values = {
        **{name: environment.get(name) for name in _ENVIRONMENT},
        "total_ms": page.get("total_ms"),
        "problems": len(problems) if isinstance(problems, list) else None,
    }
    backends = _mapping(page.get("backends"))
    for backend in ("wasm", "webgpu"):
        if result := _mapping(backends.get(backend)):
            yield from _backend_points(backend, result, everywhere)


def _backend_points(
    backend: str, result: Mapping[str, Any], everywhere: Values
) -> Iterator[ProbePoint]:
    software = _mapping(result.get("adapter")).get("software") is True
    values = {
        **everywhere,
        "available": result.get("available"),
        "reason": result.get("reason"),
        "compile_ms": _compile_ms(result.get("compile_ms")),
        "backend_ms": result.get("wall_ms"),
        **{
            name: result.get(name)
            for name in ("start_ms", "fill_ms", "device_ms", "memory_bytes", "timestamps")
        },
    }
    phases = _phases(result)
    for threads, phase in phases.items():
        of_phase = {"duty": phase.get("duty"), **_kernels(phase)}
        yield ProbePoint(backend, threads, software, values | of_phase)
    if not phases:
        yield ProbePoint(backend, None, software, values | _kernels(result))


def _phases(result: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """The phases by number of threads; the first of those with the same number."""
    listed = result.get("phases")
    phases: dict[int, Mapping[str, Any]] = {}
    for item in listed[:_MOST_PHASES] if isinstance(listed, list) else ():
        phase = _mapping(item)
        threads = phase.get("threads")
        if type(threads) is int and 1 <= threads <= _MOST_THREADS:
            phases.setdefault(threads, phase)
    return phases


def _kernels(phase: Mapping[str, Any]) -> Values:
    measured = _mapping(phase.get("kernels"))
    values: Values = {}
    for kernel, unit in KERNELS.items():
        summary = _mapping(_mapping(measured.get(kernel)).get(unit))
        for suffix, name in (("", "median"), ("_p10", "p10"), ("_p90", "p90")):
            values[f"{kernel}_{unit}{suffix}"] = summary.get(name)
    return values


def _compile_ms(value: object) -> object:
    """Of WebAssembly one number; of WebGPU one a pipeline."""
    if not isinstance(value, dict):
        return value
    times = [time for time in value.values() if isinstance(time, int | float)]
    try:
        return float(sum(times))
    except OverflowError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
