"""The report of the probe (`index.js`), as validated data.

A device says what it likes: everything here is checked for kind and range, numbers are finite and
not negative, and texts are bounded. What browsers add over time (adapter info, features, limits)
may carry any further keys; the rest may not, as the version would have changed.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from harness.errors import UserError, first_fault

Text = Annotated[str, Field(max_length=4096)]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Duty = Annotated[float, Field(gt=0, le=1)]
Unit = Literal["bytes_per_s", "flops_per_s", "op_us"]

REPORT_VERSION = 2
"""What `index.js` writes; version 1, which lacks what is optional here, is read as well."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Summary(_Part):
    """Median and spread of `n` repeated measurements."""

    n: Annotated[int, Field(ge=1)]
    median: Number
    p10: Number
    p90: Number

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.p10 <= self.median <= self.p90:
            raise ValueError("p10 <= median <= p90 does not hold")
        return self


class Kernel(_Part):
    """One kernel, in one unit: quantised bytes or operations a second, or us an operation."""

    bytes_per_s: Summary | None = None
    flops_per_s: Summary | None = None
    op_us: Summary | None = None
    slices: Count
    share: Number | None = None
    repeats: Count | None = None
    gpu_over_wall: Number | None = None

    def in_unit(self, unit: Unit) -> Summary | None:
        """The figures in that unit; None where the kernel has none or was not measured."""
        value: Summary | None = getattr(self, unit)
        return value


class Settle(_Part):
    """How the device came to rest before it was measured; the duty is that of the last windows."""

    steady: bool
    windows: Count
    wall_ms: Number
    duty: Duty | None = None


class Phase(_Part):
    """All kernels at one number of threads.

    Rates are those of bursts: the device gives them for the share `duty` of the time. `drift` is
    the time of a slice in the last third over that in the first; None in version 1, or unknown.
    """

    threads: Annotated[int, Field(ge=1)]
    duty: Duty
    drift: Number | None = None
    wall_ms: Number
    kernels: dict[str, Kernel]


class Adapter(_Part):
    """What a WebGPU adapter says of itself; `info` and `limits` grow with browsers."""

    info: dict[str, JsonValue]
    software: bool
    features: list[Text]
    limits: dict[str, JsonValue]

    def limit(self, name: str) -> int | None:
        """The limit of that name, None where the browser does not know it."""
        value = self.limits.get(name)
        return int(value) if isinstance(value, int | float) and value >= 0 else None


class Unavailable(_Part):
    """A backend that could not be measured, and why."""

    available: Literal[False]
    reason: Text
    adapter: Adapter | None = None


class WasmResult(_Part):
    """The WebAssembly side."""

    available: Literal[True]
    reason: None = None
    compile_ms: Number
    start_ms: Number
    fill_ms: Number
    memory_bytes: Count
    measure_ms: Number | None = None
    wall_ms: Number
    settle: Settle
    phases: Annotated[list[Phase], Field(min_length=1)]

    def phase(self, threads: int) -> Phase:
        """The phase nearest to `threads` from below, else the one with the fewest threads."""
        ordered = sorted(self.phases, key=lambda phase: phase.threads)
        fitting = [phase for phase in ordered if phase.threads <= threads]
        return fitting[-1] if fitting else ordered[0]


class WebGpuResult(_Part):
    """The WebGPU side."""

    available: Literal[True]
    reason: None = None
    adapter: Adapter
    timestamps: bool
    device_ms: Number
    compile_ms: dict[str, Number]
    memory_bytes: Number
    weight_bytes: Number
    measure_ms: Number | None = None
    wall_ms: Number
    settle: Settle | None = None
    duty: Duty | None = None
    drift: Number | None = None
    kernels: dict[str, Kernel]


class Environment(_Part):
    """What the page could say without measuring."""

    user_agent: Text
    hardware_concurrency: Count | None
    device_memory_gib: Number | None
    cross_origin_isolated: bool | None
    secure_context: bool | None
    js_heap_limit_bytes: Count | None
    wasm: bool
    wasm_simd: bool
    wasm_threads: bool
    wasm_memory64: bool
    webgpu: bool


class Backends(_Part):
    """One result a backend that was asked for."""

    wasm: Annotated[WasmResult | Unavailable, Field(discriminator="available")] | None = None
    webgpu: Annotated[WebGpuResult | Unavailable, Field(discriminator="available")] | None = None


class ProbeReport(_Part):
    """One probe of one device; `memory`: what the stepwise memory probe found, where asked for."""

    version: Literal[1, 2]
    seed: Count
    budget_ms: Number
    total_ms: Number
    measure_ms: Number | None = None
    settle: Settle | None = None
    memory: dict[str, JsonValue] | None = None
    environment: Environment
    backends: Backends
    problems: list[Text]


def parse_report(text: str | bytes) -> ProbeReport:
    """The report in a JSON text.

    Raises:
        UserError: it is not JSON, of another version, or not a report.
    """
    try:
        return ProbeReport.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"not a probe report of version 1 to {REPORT_VERSION}: {first_fault(error)}",
            "run the probe again with the package that belongs to this version of tierlab",
        ) from error
