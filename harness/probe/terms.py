"""The terms of a prediction: what a probe report and a model's shape say without any engine's data.

A quantity is the sum of `factor * base` over its terms. Bases are seconds, or bytes for memory. In
the following, `s(k)` are seconds a unit of kernel `k` where the engine runs (divided by the duty
factor: a burst does not see throttling; barriers are not, which a stall makes longer themselves),
`s1(k)` those of one thread of WebAssembly, `sp(k)` these shared by the processors that there are (a
burst's over the most of threads * duty of any phase), `b` the bits of a weight, `n` the prompt
(padded as the engine pads it), `c` the tokens that a step attends to. A name with `.Q` has a factor
for each way of storing weights.

| quantity | term | base |
|---|---|---|
| decode, a token | `matrix.Q` | `body.Q` + `head.Q` |
| | `body.Q`, `head.Q` | parameters * b/8 * s(body), s(head) |
| | `alone.Q` | `matrix.Q` on one thread: what is not shared among threads |
| | `small` | layers * hidden/1024 * s(small_ops) |
| | `barrier` | layers * s(barrier); 0 at one thread |
| | `vocabulary` | vocabulary/65536 * s(small_ops) |
| | `attention` | layers * 2 * width of keys * 4 bytes * c * s(attention); c = n + output/2 |
| | `operations`, `encode` | operations of a token * s(chain), s(rebind_chain) |
| | `submit` | s(submit) |
| | `serial` | 1000 * s(chain): one thread at work while the others wait for it |
| | `fixed`, `fixed_cpu`, `fixed_cores` | 1 ms; 1000 * s1(chain); 1000 * sp(chain) |
| prefill, the prompt | `product.Q` | n * body parameters * (b/8 or 2 operations) * s(product) |
| | `expand.Q`, `head.Q` | body parameters * b/8 * s(expand); as above |
| | `small`, `operations` | as above, times n where rows are not taken together |
| | `attention` | as above with c = n/2, times n |
| | others | as above |
| load | `bytes` | bytes of the file * 1e-9 |
| | `bytes_cpu`, `bytes_cores` | bytes of the file * 1e-3 * s1(chain), sp(chain) |
| | `fixed`, `fixed_cpu`, `fixed_cores` | 1 s; 1e6 * s1(chain), sp(chain) |
| first_token | `prefill` | the predicted prefill |
| | `pipelines` | 100 * mean time to compile one of the probe's pipelines |
| | others | as load's |
| memory | `file` | bytes of the file |
| | `largest` | the largest tensor as fp32 |
| | `kv` | keys and values of the context |
| | `fixed` | 1 GB |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.probe.recipe import is_for
from results.observation import Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.models import Architecture, Quantisation
    from harness.probe.recipe import EngineRecipe, Side
    from harness.probe.report import Kernel, ProbeReport

_MICRO: Final = 1e-6
_SMALL_WIDTH: Final = 1024
_SMALL_SOFTMAX: Final = 65_536

# Kernels that a term needs beside those of the engine's matrices.
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "small": ("small_ops",),
    "vocabulary": ("small_ops",),
    "barrier": ("barrier",),
    "attention": ("attention",),
    "operations": ("chain",),
    "encode": ("rebind_chain",),
    "submit": ("submit",),
    "serial": ("chain",),
    "fixed_cpu": ("chain",),
    "fixed_cores": ("chain",),
    "bytes_cpu": ("chain",),
    "bytes_cores": ("chain",),
}


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of an engine.

    Attributes:
        model, quantisation: what is loaded.
        prompt_tokens, output_tokens: how much is read and written.
        file_bytes: of the model, once loaded.
        threads: that the engine runs with.
    """

    model: Architecture
    quantisation: Quantisation
    prompt_tokens: int
    output_tokens: int
    file_bytes: int
    threads: int = 1

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1:
            raise ValueError("the prompt needs at least one token")


@dataclass(frozen=True, slots=True)
class Speeds:
    """The seconds of a report's kernels, as one engine meets them."""

    kernels: Mapping[str, Kernel]
    duty: float
    threads: int
    alone: Mapping[str, Kernel]
    alone_duty: float
    processors: float
    compile_seconds: float | None

    @classmethod
    def of(cls, report: ProbeReport, side: Side, threads: int) -> Speeds:
        """Those of one side of a report; a side that was not measured has none."""
        kernels: Mapping[str, Kernel] = {}
        alone: Mapping[str, Kernel] = {}
        duty = alone_duty = processors = 1.0
        compile_seconds = None
        wasm, webgpu = report.backends.wasm, report.backends.webgpu
        if wasm is not None and wasm.available:
            one = wasm.phase(1)
            alone, alone_duty = one.kernels, one.duty
            processors = max(phase.threads * phase.duty for phase in wasm.phases)
            if side == "wasm":
                phase = wasm.phase(threads)
                kernels, duty, threads = phase.kernels, phase.duty, phase.threads
        if webgpu is not None and webgpu.available and side == "webgpu":
            kernels, duty = webgpu.kernels, webgpu.duty or 1.0
            times = webgpu.compile_ms.values()
            compile_seconds = sum(times) / len(times) / 1000 if times else None
        return cls(kernels, duty, threads, alone, alone_duty, processors, compile_seconds)

    def seconds(self, name: str | None) -> float | None:
        """Seconds a unit of a kernel's work, throttling included; `None` if it is not measured."""
        found = _burst(self.kernels, name)
        return None if found is None else found / self.duty

    def barrier(self) -> float | None:
        """Seconds of one barrier; none where there is nobody to wait for."""
        return 0.0 if self.threads == 1 else _burst(self.kernels, "barrier")

    def operation_alone(self) -> float | None:
        """Seconds of a small operation on one thread of WebAssembly."""
        return self.alone_seconds("chain")

    def operation_shared(self) -> float | None:
        """Seconds of a small operation where all processors work on many of them."""
        found = _burst(self.alone, "chain")
        return None if found is None else found / self.processors

    def alone_seconds(self, name: str | None) -> float | None:
        """As `seconds`, of one thread of WebAssembly."""
        found = _burst(self.alone, name)
        return None if found is None else found / self.alone_duty

    def counts_operations(self, name: str) -> bool:
        """Whether a kernel's unit is an arithmetic operation, and not a byte of weights."""
        kernel = self.kernels.get(name)
        return kernel is not None and kernel.flops_per_s is not None


def _burst(kernels: Mapping[str, Kernel], name: str | None) -> float | None:
    kernel = kernels.get(name) if name else None
    if kernel is None:
        return None
    if kernel.op_us is not None:
        return _MICRO * kernel.op_us.median
    rate = kernel.bytes_per_s or kernel.flops_per_s
    return 1 / rate.median if rate is not None and rate.median > 0 else None


def bases(
    quantity: Quantity,
    names: Iterable[str],
    speeds: Speeds,
    recipe: EngineRecipe,
    demand: Demand,
    *,
    prefill_seconds: float | None = None,
) -> dict[str, float | None]:
    """The bases of the named terms that count for the quantisation in question.

    `None` is a term that cannot be computed: a kernel was not measured, or `prefill_seconds`, which
    `first_token` builds on, is not known.
    """
    step = _Step(speeds, recipe, demand)
    found: dict[str, float | None] = {}
    for term in names:
        if not is_for(term, demand.quantisation.name):
            continue
        name = term.partition(".")[0]
        if quantity is Quantity.FIRST_TOKEN and name == "prefill":
            found[term] = prefill_seconds
        else:
            found[term] = _BASES[quantity](step, name)
    return found


def kernels_of(recipe: EngineRecipe, quantisation: str) -> set[str]:
    """All kernels that any of a recipe's terms needs for weights stored in that way."""
    names = {term.partition(".")[0] for terms in recipe.terms.values() for term in terms}
    needed = {kernel for name in names for kernel in _NEEDS.get(name, ())}
    kernels = recipe.kernels.get(quantisation)
    return needed.union(kernels.names if kernels else ())


@dataclass(frozen=True, slots=True)
class _Step:
    """One engine with one demand: what the bases are computed from."""

    speeds: Speeds
    recipe: EngineRecipe
    demand: Demand

    @property
    def rows(self) -> int:
        """The prompt as the engine pads it."""
        multiple = self.recipe.prefill_multiple
        return -(-self.demand.prompt_tokens // multiple) * multiple

    @property
    def tokens(self) -> int:
        """What keys and values are allocated for."""
        return max(
            self.recipe.context_tokens, self.demand.prompt_tokens + self.demand.output_tokens
        )

    @property
    def operations(self) -> int:
        recipe = self.recipe
        return self.demand.model.layers * recipe.operations_per_layer + recipe.operations_fixed

    def stored(self, parameters: int) -> float:
        """Bytes of so many weights, without their scales."""
        return parameters * self.demand.quantisation.bits / 8

    def kernel(self, role: str) -> str | None:
        kernels = self.recipe.kernels.get(self.demand.quantisation.name)
        found: str | None = getattr(kernels, role) if kernels is not None else None
        return found

    def matrix(self, name: str) -> float | None:
        """`body`, `head`, or both of them as `matrix`; `alone` is that on one thread."""
        seconds = self.speeds.alone_seconds if name == "alone" else self.speeds.seconds
        model = self.demand.model
        parts = {"body": model.body_parameters, "head": model.embedding_parameters}
        named = parts.keys() if name in {"matrix", "alone"} else (name,)
        times = [_times(self.stored(parts[it]), seconds(self.kernel(it))) for it in named]
        return None if None in times else sum(time for time in times if time is not None)

    def attention(self, steps: float, context: float) -> float | None:
        model = self.demand.model
        read = model.layers * 2 * model.kv_width * 4 * context * steps
        return _times(read, self.speeds.seconds("attention"))

    def small(self, name: str, rows: int) -> float | None:
        """What every step has beside its matrices."""
        model, speeds = self.demand.model, self.speeds
        if self.recipe.rows_together:
            rows = 1
        seconds: float | None
        match name:
            case "small":
                amount = rows * model.layers * model.hidden / _SMALL_WIDTH
                seconds = speeds.seconds("small_ops")
            case "vocabulary":
                amount, seconds = model.vocabulary / _SMALL_SOFTMAX, speeds.seconds("small_ops")
            case "barrier":
                amount, seconds = model.layers, speeds.barrier()
            case "operations":
                amount, seconds = rows * self.operations, speeds.seconds("chain")
            case "encode":
                amount, seconds = self.operations, speeds.seconds("rebind_chain")
            case "submit":
                amount, seconds = 1, speeds.seconds("submit")
            case _:
                return self.constant(name, 1e-3)
        return _times(amount, seconds)

    def constant(self, name: str, amount: float) -> float | None:
        """So many seconds, or millions of small operations as the processors get through them."""
        speeds = self.speeds
        match name:
            case "fixed" | "bytes":
                return amount
            case "fixed_cpu" | "bytes_cpu":
                seconds = speeds.operation_alone()
            case "fixed_cores" | "bytes_cores":
                seconds = speeds.operation_shared()
            case "serial":
                seconds = speeds.seconds("chain")
            case _:
                raise ValueError(f"{self.recipe.key}: there is no term {name!r}")
        return _times(1e6 * amount, seconds)


def _decode(step: _Step, name: str) -> float | None:
    match name:
        case "matrix" | "body" | "head" | "alone":
            return step.matrix(name)
        case "attention":
            demand = step.demand
            return step.attention(1, demand.prompt_tokens + demand.output_tokens / 2)
    return step.small(name, 1)


def _prefill(step: _Step, name: str) -> float | None:
    rows, body = step.rows, step.demand.model.body_parameters
    match name:
        case "product":
            kernel = step.kernel("product")
            operations = kernel is not None and step.speeds.counts_operations(kernel)
            work = 2 * body if operations else step.stored(body)
            return _times(rows * work, step.speeds.seconds(kernel))
        case "expand":
            return _times(step.stored(body), step.speeds.seconds(step.kernel("expand")))
        case "head":
            return step.matrix("head")
        case "attention":
            return step.attention(rows, rows / 2)
    return step.small(name, rows)


def _load(step: _Step, name: str) -> float | None:
    if name == "pipelines":
        return _times(100, step.speeds.compile_seconds)
    return step.constant(name, 1e-9 * step.demand.file_bytes if name.startswith("bytes") else 1.0)


def _memory(step: _Step, name: str) -> float | None:
    model = step.demand.model
    match name:
        case "file":
            return float(step.demand.file_bytes)
        case "largest":
            return 4.0 * model.largest_tensor_parameters
        case "kv":
            element_bytes = step.recipe.kv_element_bytes
            return float(step.tokens * model.kv_bytes_per_token(element_bytes=element_bytes))
        case "fixed":
            return 1e9
    raise ValueError(f"{step.recipe.key}: there is no term {name!r}")


def heap_need(recipe: EngineRecipe, demand: Demand) -> float:
    """Bytes that the engine's own address space must hold."""
    step = _Step(_NO_SPEEDS, recipe, demand)
    largest, kv = _memory(step, "largest") or 0.0, _memory(step, "kv") or 0.0
    return recipe.heap_file * demand.file_bytes + recipe.heap_largest * largest + kv


def _times(amount: float, seconds: float | None) -> float | None:
    return None if seconds is None else amount * seconds


_NO_SPEEDS: Final = Speeds({}, 1.0, 1, {}, 1.0, 1.0, None)

_BASES: Final = {
    Quantity.DECODE: _decode,
    Quantity.PREFILL: _prefill,
    Quantity.LOAD: _load,
    Quantity.FIRST_TOKEN: _load,
    Quantity.MEMORY: _memory,
}
