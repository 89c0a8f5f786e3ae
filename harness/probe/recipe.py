"""What is known of an inference engine: data from which `harness.probe.terms` makes predictions.

A predicted quantity is a sum of `factor * base`. The bases follow from a probe report and a model's
shape; the factors are the engine's. The module of each engine in `harness.runtimes` fills one
`EngineRecipe` with the kernels that stand for its own, its structural facts, and the factors that
hold until records have been fitted (`results.calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from results.observation import Quantity

Side = Literal["wasm", "webgpu"]

WASM32_BYTES: Final = 1 << 32
"""What a 32-bit WebAssembly memory can address."""

LOAD_TERMS: Final = (
    "bytes", "bytes_cpu", "bytes_cores", "fixed", "fixed_cpu", "fixed_cores",
)  # fmt: skip
FIRST_TOKEN_TERMS: Final = ("prefill", *LOAD_TERMS)
FIRST_TOKEN_TERMS_WEBGPU: Final = (*FIRST_TOKEN_TERMS, "pipelines")
MEMORY_TERMS: Final = ("file", "largest", "kv", "fixed")


@dataclass(frozen=True, slots=True)
class Kernels:
    """The probe's kernels that stand for an engine's own, for one way of storing weights.

    Attributes:
        body: the layers' matrices at one token (`bytes_per_s`).
        head: the vocabulary's matrix at one token (`bytes_per_s`).
        product: the matrices of a prompt's many rows, in either unit.
        expand: the expansion of the weights before such a product, where the engine has one.
    """

    body: str
    head: str
    product: str
    expand: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Each of them."""
        return tuple(name for name in (self.body, self.head, self.product, self.expand) if name)


@dataclass(frozen=True, slots=True)
class Factors:
    """What a quantity adds up from, and how far it may be off.

    Attributes:
        factors: by the name of the term; see `harness.probe.terms`.
        low, high: measured / predicted should be between these 9 times in 10.
    """

    factors: Mapping[str, float]
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"0 < low <= high does not hold for {self.low} and {self.high}")
        if negative := [name for name, value in self.factors.items() if value < 0]:
            raise ValueError(f"factors below 0: {', '.join(negative)}")


@dataclass(frozen=True, slots=True)
class EngineRecipe:
    """An engine on one backend, for one kind of adapter and some ways of storing weights.

    Attributes:
        key: what fits are stored under: the runtime's id, with `:gpu` on a real GPU, and with the
            name of a quantisation that has other terms or another memory.
        name: the runtime's id.
        backend: the side of a report that speaks for it.
        kernels: for each quantisation that the engine loads, the kernels that stand for it; `None`
            where its speeds are not predicted.
        terms: for each quantity, the terms that a fit may choose from.
        defaults: the factors of before any fit, for each quantity that can be predicted.
        operations_per_layer, operations_fixed: dependent operations of one token.
        rows_together: small operations take no longer for many rows than for one, as on a GPU,
            where starting one is what takes the time.
        prefill_multiple: prompts are padded to a multiple of so many tokens.
        kv_element_bytes: of one element of the keys and values.
        context_tokens: keys and values are allocated for at least so many tokens.
        heap_bytes: the engine's address space, `None` without a limit. It holds `heap_file` copies
            of the file, `heap_largest` times the largest tensor as fp32, and keys and values.
        binds_whole_tensors: a tensor above the adapter's binding limit cannot be used (WebGPU).
    """

    key: str
    name: str
    backend: Side
    kernels: Mapping[str, Kernels | None]
    terms: Mapping[Quantity, tuple[str, ...]]
    defaults: Mapping[Quantity, Factors]
    operations_per_layer: int = 0
    operations_fixed: int = 0
    rows_together: bool = False
    prefill_multiple: int = 1
    kv_element_bytes: int = 4
    context_tokens: int = 0
    heap_bytes: int | None = None
    heap_file: float = 1.0
    heap_largest: float = 0.0
    binds_whole_tensors: bool = False

    def __post_init__(self) -> None:
        for quantity, default in self.defaults.items():
            if unknown := set(default.factors) - set(self.terms.get(quantity, ())):
                raise ValueError(f"{self.key}: {quantity} has no terms {sorted(unknown)}")


def of_each(term: str, quantisations: Iterable[str]) -> tuple[str, ...]:
    """The names of a term that has a factor of its own for each way of storing weights."""
    return tuple(f"{term}.{quantisation}" for quantisation in quantisations)


def is_for(term: str, quantisation: str) -> bool:
    """Whether a term counts for weights stored in that way: all do that name no other one."""
    return term.partition(".")[2] in ("", quantisation)
