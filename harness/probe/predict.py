"""From a probe report to a prediction for one workload. Pure: no clock, no file, no device.

The time of a decoded token has two kinds of terms, as bandwidth alone misleads:

    t = operations * (time of a small dependent operation + the engine's own cost of one)
        + body bytes / rate of the body's kernel + head bytes / rate of the head's kernel

Rates are those of the probe's *engine-like* kernels, times the duty factor (a burst does not see
throttling). The head (the vocabulary's matrix) has a rate of its own where an engine expands a
matrix before it multiplies: the expanded head is far larger than any cache, a layer's is not.

What an engine costs is data (`EngineCost`), filled in by the engine's module in `harness.runtimes`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from harness.models import find_quantisation
from results.record import Interval, Prediction
from results.tiers import Tier, pair_tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.models import Architecture, Quantisation, Workload
    from harness.probe.report import Kernel, ProbeReport, Summary, Unit

Feasible = Literal["yes", "no", "unknown"]

_MICRO: Final = 1e-6
_MILLI: Final = 1e-3
WASM32_BYTES: Final = 1 << 32
"""What a 32-bit WebAssembly memory can address."""


@dataclass(frozen=True, slots=True)
class Band:
    """A coefficient with the bounds within which it was seen (or is believed)."""

    low: float
    expected: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.expected <= self.high:
            raise ValueError(f"{self}: 0 <= low <= expected <= high does not hold")


ONE: Final = Band(1, 1, 1)


@dataclass(frozen=True, slots=True)
class DecodeKernels:
    """The probe's kernels that stand for an engine's matrices at one token (`bytes_per_s`)."""

    body: str
    head: str


@dataclass(frozen=True, slots=True)
class PrefillKernels:
    """The kernels that stand for prefill.

    A product of many rows (`flops_per_s`), and, where the engine expands the weights once for all
    rows, the expansion alone (`bytes_per_s`).
    """

    product: str
    expand: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """Peak memory in bytes: the larger of two moments, plus keys and values and `base`.

    - while the session is made: `load_copies` * file
    - while it runs: `run_copies` * file + `expanded` * (largest tensor as fp32)
    """

    load_copies: Band
    run_copies: Band
    expanded: Band
    base_bytes: Band
    kv_element_bytes: int = 4


@dataclass(frozen=True, slots=True)
class EngineCost:
    """What an inference engine costs on top of a device's speed.

    Every coefficient's data or reason is named where it is filled in.

    Attributes:
        backend: which of the report's backends it runs on.
        decode: kernels for each quantisation the engine can load; others are "unsupported".
        prefill: kernels for each quantisation.
        operations_per_layer, operations_fixed: dependent operations of one token.
        operation_us: the engine's own cost of one operation, beside the device's.
        run_ms: fixed cost of one run (feeds, outputs, crossing into the engine).
        threads: how many the engine uses (WebAssembly); the phase of the report that stands for it.
        needs_isolation: more than one thread only in cross-origin isolated pages.
        load_bytes_per_s, load_fixed_s: download from a near server and session creation.
        first_run: how much slower the first run is than a later one (first use of memory, JIT).
        rows_together: small operations take no longer for many rows than for one, as on a GPU,
            where starting one is what takes the time.
        pipelines: WebGPU: what the first prompt compiles, in pipelines of the mean that the probe
            saw its own ones take.
        accuracy: measured / predicted speed; the bounds should hold 9 times in 10.
        prefill_accuracy: the same for prefill, where the kernels that stand for it are further from
            the engine's own; None: as `accuracy`.
        scale_bytes: bytes of one block's scale in the file.
        table_scales: how often the scales of a tied table are stored.
        file_bytes: bytes of the model file where it is known; None: as computed from the shape.
        heap_bytes: the engine's address space, which holds one copy of the file, the largest tensor
            expanded, and the keys and values; None when there is no such limit.
        binds_whole_tensors: WebGPU: a tensor above the adapter's binding limit cannot be used.
    """

    name: str
    backend: Literal["wasm", "webgpu"]
    decode: Mapping[str, DecodeKernels]
    prefill: Mapping[str, PrefillKernels]
    operations_per_layer: int
    operations_fixed: int
    memory: MemoryModel
    load_bytes_per_s: Band
    load_fixed_s: Band
    operation_us: Band = field(default_factory=lambda: Band(0, 0, 0))
    run_ms: Band = field(default_factory=lambda: Band(0, 0, 0))
    chain: str = "chain"
    threads: int = 1
    needs_isolation: bool = False
    first_run: Band = ONE
    rows_together: bool = False
    pipelines: Band = field(default_factory=lambda: Band(0, 0, 0))
    accuracy: Band = ONE
    prefill_accuracy: Band | None = None
    scale_bytes: int = 2
    table_scales: int = 1
    file_bytes: int | None = None
    heap_bytes: int | None = None
    binds_whole_tensors: bool = False


@dataclass(frozen=True, slots=True)
class MemoryBudget:
    """How much memory the engine's process may use; `None` is unknown.

    `source` names where the number is from (a cgroup's limit, a device profile).
    """

    limit_bytes: int | None
    source: str = ""


UNKNOWN_BUDGET: Final = MemoryBudget(None)


def feasible(prediction: Prediction) -> Feasible:
    """Whether the workload is predicted to run at all; the prediction's reason says why not."""
    if prediction.verdict == "unknown":
        return "unknown"
    return "yes" if prediction.verdict == "ok" else "no"


def predict(
    report: ProbeReport,
    model: Architecture,
    workload: Workload,
    engine: EngineCost,
    limits: MemoryBudget = UNKNOWN_BUDGET,
) -> Prediction:
    """What `workload` will do on the device of `report`.

    The verdict: "unsupported" when something structural is missing or too small; "oom" when even
    the low end of the memory band exceeds the budget or the engine's address space; "unknown" when
    the band straddles the budget, or a kernel that is needed was not measured; else "ok", also with
    an unknown budget (the reason then says so). Speeds are given wherever they can be computed; a
    tier only for "ok" (the tier of its expected speeds), and "unsupported" for what cannot run.

    Raises:
        UserError: the workload's quantisation is unknown.
        ValueError: the workload is for another model, or has no prompt.
    """
    if model.id != workload.model:
        raise ValueError(f"the workload is for {workload.model}, not for {model.id}")
    if workload.prompt_tokens < 1:
        raise ValueError("the prompt needs at least one token")
    quantisation = find_quantisation(workload.quantisation)
    missing = _structural(report, model, quantisation, engine)
    if missing:
        return Prediction(verdict="unsupported", reason=missing, tier=Tier.UNSUPPORTED)
    file_bytes = artifact_bytes(model, quantisation, engine)
    tokens = workload.prompt_tokens + workload.output_tokens
    kv_bytes = tokens * model.kv_bytes_per_token(element_bytes=engine.memory.kv_element_bytes)
    peak = _peak(model, engine.memory, file_bytes, kv_bytes)
    load = _load(engine, file_bytes)
    speeds = _Rates.of(report, engine, quantisation.name)
    expanded = engine.memory.expanded.expected * 4 * model.largest_tensor_parameters
    heap = file_bytes + expanded + kv_bytes
    too_much = _too_much(engine, limits, heap_bytes=heap, peak=peak)
    if speeds is None:
        verdict, reason = too_much or ("unknown", "a kernel that is needed was not measured")
        return Prediction(
            verdict=verdict,
            reason=reason,
            tier=Tier.UNSUPPORTED if verdict == "oom" else None,
            load_seconds=load,
            peak_memory_bytes=peak,
        )
    decode_seconds = speeds.decode_seconds(model, quantisation)
    prefill_seconds = speeds.prefill_seconds(model, quantisation, workload.prompt_tokens)
    decode = _speed(1, decode_seconds, engine.accuracy)
    prefill = _speed(
        workload.prompt_tokens, prefill_seconds, engine.prefill_accuracy or engine.accuracy
    )
    if too_much:
        reason = too_much[1]
        tier = Tier.UNSUPPORTED if too_much[0] == "oom" else None
    else:
        reason = _no_objection(limits)
        tier = pair_tier(prefill_tokens_per_s=prefill.expected, decode_tokens_per_s=decode.expected)
    return Prediction(
        verdict=too_much[0] if too_much else "ok",
        reason=reason,
        tier=tier,
        load_seconds=load,
        first_token_seconds=_first_token(report, engine, workload.prompt_tokens, prefill),
        prefill_tokens_per_s=prefill,
        decode_tokens_per_s=decode,
        peak_memory_bytes=peak,
    )


def artifact_bytes(model: Architecture, quantisation: Quantisation, engine: EngineCost) -> int:
    """Bytes of the model file as this engine's format stores it (weights and scales)."""
    if engine.file_bytes is not None:
        return engine.file_bytes
    stored = model.weight_bytes(quantisation, scale_bytes=engine.scale_bytes)
    if quantisation.block and model.tied_embeddings:
        scales = model.embedding_parameters // quantisation.block * engine.scale_bytes
        stored += (engine.table_scales - 1) * scales
    return stored


def _structural(
    report: ProbeReport, model: Architecture, quantisation: Quantisation, engine: EngineCost
) -> str | None:
    """Why the engine cannot load this at all, whatever its speed; None when it may."""
    if quantisation.name not in engine.decode:
        return f"{engine.name} does not load {quantisation.name} weights"
    result = report.backends.wasm if engine.backend == "wasm" else report.backends.webgpu
    if result is None:
        # Not asked for is not the same as not there: the environment still knows.
        here = report.environment
        present = here.wasm_simd if engine.backend == "wasm" else here.webgpu
        return None if present else f"the browser has no {engine.backend}"
    if not result.available:
        # A probe that failed on a present backend says nothing about the device.
        here = report.environment
        present = here.wasm_simd if engine.backend == "wasm" else _has_adapter(report)
        return None if present else f"{engine.backend}: {result.reason}"
    if engine.binds_whole_tensors and report.backends.webgpu and report.backends.webgpu.available:
        limit = report.backends.webgpu.adapter.limit("maxStorageBufferBindingSize")
        # The payload is bound apart from its scales.
        largest = model.largest_tensor_parameters * quantisation.bits // 8
        if limit is not None and largest > limit:
            return f"its largest tensor has {largest} bytes, the adapter binds at most {limit}"
    return None


def _has_adapter(report: ProbeReport) -> bool:
    webgpu = report.backends.webgpu
    return webgpu is not None and webgpu.adapter is not None


def _peak(model: Architecture, memory: MemoryModel, file_bytes: int, kv_bytes: int) -> Interval:
    largest = 4 * model.largest_tensor_parameters

    def at(bound: Literal["low", "expected", "high"]) -> float:
        load, run, expanded, base = (
            float(getattr(band, bound))
            for band in (
                memory.load_copies,
                memory.run_copies,
                memory.expanded,
                memory.base_bytes,
            )
        )
        return max(load * file_bytes, run * file_bytes + expanded * largest) + kv_bytes + base

    return Interval(low=at("low"), expected=at("expected"), high=at("high"))


def _load(engine: EngineCost, file_bytes: int) -> Interval:
    rate, fixed = engine.load_bytes_per_s, engine.load_fixed_s
    return Interval(
        low=fixed.low + file_bytes / rate.high,
        expected=fixed.expected + file_bytes / rate.expected,
        high=fixed.high + file_bytes / rate.low,
    )


def _too_much(
    engine: EngineCost,
    limits: MemoryBudget,
    *,
    heap_bytes: float,
    peak: Interval,
) -> tuple[Literal["oom", "unknown"], str] | None:
    """Why memory does not suffice, or may not; None when it does or when no limit is known."""
    if engine.heap_bytes is not None and heap_bytes > engine.heap_bytes:
        return "oom", (
            f"needs {heap_bytes / 1e9:.2f} GB of {engine.name}'s address space of "
            f"{engine.heap_bytes / 1e9:.2f} GB"
        )
    if limits.limit_bytes is None:
        return None
    where = f" ({limits.source})" if limits.source else ""
    need = f"{peak.low / 1e9:.2f} to {peak.high / 1e9:.2f} GB"
    have = f"{limits.limit_bytes / 1e9:.2f} GB{where}"
    if peak.low > limits.limit_bytes:
        return "oom", f"peaks at {need}, above the limit of {have}"
    if peak.high > limits.limit_bytes:
        return "unknown", f"peaks at {need}, which the limit of {have} may or may not hold"
    return None


def _no_objection(limits: MemoryBudget) -> str:
    if limits.limit_bytes is None:
        return "nothing speaks against it; the memory limit is not known"
    return f"expected to fit {limits.source or 'the memory limit'}"


def _first_token(
    report: ProbeReport, engine: EngineCost, prompt_tokens: int, prefill: Interval
) -> Interval:
    """The first prompt: slower than a later one, and with what is compiled for it."""
    webgpu = report.backends.webgpu
    times = webgpu.compile_ms.values() if webgpu is not None and webgpu.available else ()
    compiling = _scaled(engine.pipelines, _MILLI * sum(times) / max(1, len(times)))
    return Interval(
        low=engine.first_run.low * prompt_tokens / prefill.high + compiling.low,
        expected=engine.first_run.expected * prompt_tokens / prefill.expected + compiling.expected,
        high=engine.first_run.high * prompt_tokens / prefill.low + compiling.high,
    )


def _speed(tokens: int, seconds: Interval, accuracy: Band) -> Interval:
    """Tokens a second from an interval of seconds, widened by what the engine's model is off by."""
    return Interval(
        low=accuracy.low * tokens / seconds.high,
        expected=accuracy.expected * tokens / seconds.expected,
        high=accuracy.high * tokens / seconds.low,
    )


@dataclass(frozen=True, slots=True)
class _Rates:
    """The kernels that one engine needs, as seconds a unit of work (slowest is `high`)."""

    operation: Interval
    own: Interval
    run: Interval
    operations_per_layer: int
    operations_fixed: int
    rows_together: bool
    body: Interval
    head: Interval
    product: Interval
    expand: Interval | None

    @classmethod
    def of(cls, report: ProbeReport, engine: EngineCost, quantisation: str) -> _Rates | None:
        found = _kernels(report, engine)
        if found is None:
            return None
        kernels, duty = found
        decode, prefill = engine.decode[quantisation], engine.prefill[quantisation]
        body = _seconds(kernels, decode.body, "bytes_per_s", duty)
        head = _seconds(kernels, decode.head, "bytes_per_s", duty)
        product = _seconds(kernels, prefill.product, "flops_per_s", duty)
        expand = _seconds(kernels, prefill.expand, "bytes_per_s", duty) if prefill.expand else None
        chain = _seconds(kernels, engine.chain, "op_us", duty)
        if body is None or head is None or product is None or chain is None:
            return None
        if prefill.expand and expand is None:
            return None
        return cls(
            operation=chain,
            own=_scaled(engine.operation_us, _MICRO),
            run=_scaled(engine.run_ms, _MILLI),
            operations_per_layer=engine.operations_per_layer,
            operations_fixed=engine.operations_fixed,
            rows_together=engine.rows_together,
            body=body,
            head=head,
            product=product,
            expand=expand,
        )

    def _small(self, model: Architecture, tokens: int) -> tuple[tuple[float, Interval], ...]:
        """The terms of one run beside its matrices: small operations grow with the rows."""
        operations = model.layers * self.operations_per_layer + self.operations_fixed
        rows = 1 if self.rows_together else tokens
        return (1, self.run), (operations, self.own), (operations * rows, self.operation)

    def decode_seconds(self, model: Architecture, quantisation: Quantisation) -> Interval:
        body = model.body_parameters * quantisation.bits / 8
        head = model.embedding_parameters * quantisation.bits / 8
        return _weighted(*self._small(model, 1), (body, self.body), (head, self.head))

    def prefill_seconds(
        self, model: Architecture, quantisation: Quantisation, tokens: int
    ) -> Interval:
        """All tokens in one run; the head only for the last one.

        Never less than one decode step, which reads the same weights: what a product of many rows
        gains does not reach below that.
        """
        body = model.body_parameters * quantisation.bits / 8
        head = model.embedding_parameters * quantisation.bits / 8
        terms = [
            *self._small(model, tokens),
            (tokens * model.flops_per_token(head=False), self.product),
            (head, self.head),
        ]
        if self.expand is not None:
            terms.append((body, self.expand))
        many = _weighted(*terms)
        one = self.decode_seconds(model, quantisation)
        return Interval(
            low=max(one.low, many.low),
            expected=max(one.expected, many.expected),
            high=max(one.high, many.high),
        )


def _scaled(band: Band, factor: float) -> Interval:
    return Interval(low=factor * band.low, expected=factor * band.expected, high=factor * band.high)


def _weighted(*terms: tuple[float, Interval]) -> Interval:
    return Interval(
        low=sum(times * seconds.low for times, seconds in terms),
        expected=sum(times * seconds.expected for times, seconds in terms),
        high=sum(times * seconds.high for times, seconds in terms),
    )


def _kernels(report: ProbeReport, engine: EngineCost) -> tuple[Mapping[str, Kernel], float] | None:
    """The kernels that stand for the engine's backend and threads, and their duty factor."""
    if engine.backend == "webgpu":
        webgpu = report.backends.webgpu
        return (webgpu.kernels, 1.0) if webgpu is not None and webgpu.available else None
    wasm = report.backends.wasm
    if wasm is None or not wasm.available:
        return None
    isolated = bool(report.environment.cross_origin_isolated)
    phase = wasm.phase(1 if engine.needs_isolation and not isolated else engine.threads)
    return phase.kernels, phase.duty


def _seconds(kernels: Mapping[str, Kernel], name: str, unit: Unit, duty: float) -> Interval | None:
    """Seconds a unit of work with the kernel's spread, slowed by the duty factor."""
    kernel = kernels.get(name)
    summary: Summary | None = kernel.in_unit(unit) if kernel else None
    if summary is None or summary.p10 <= 0:
        return None
    if unit == "op_us":
        low, expected, high = (
            _MICRO * value for value in (summary.p10, summary.median, summary.p90)
        )
    else:
        low, expected, high = (1 / value for value in (summary.p90, summary.median, summary.p10))
    return Interval(low=low / duty, expected=expected / duty, high=high / duty)
