"""An engine that says the prompt again: the smallest module that a trial accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.probe.recipe import (
    FIRST_TOKEN_TERMS,
    LOAD_TERMS,
    MEMORY_TERMS,
    EngineRecipe,
    Factors,
    Kernels,
)
from harness.runtimes.base import not_taken
from harness.weights.onnx.recipe import OnnxRecipe
from results.observation import Quantity

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

# What the engine costs on top of a device's speed: data, each with where it is from.
_RECIPE: Final = EngineRecipe(
    key="parrot/wasm",
    name="parrot/wasm",
    backend="wasm",
    kernels={"int4": Kernels("int4_layer", "int4_head", "gemm_m16")},
    terms={
        Quantity.DECODE: ("matrix.int4", "fixed_cpu"),
        Quantity.PREFILL: ("product.int4", "fixed_cpu"),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    # The factors of before any fit, and what measured / predicted is between 9 times in 10.
    defaults={
        Quantity.DECODE: Factors({"matrix.int4": 1.0}, low=0.1, high=10),
        Quantity.PREFILL: Factors({"product.int4": 1.0}, low=0.1, high=10),
        Quantity.LOAD: Factors({"bytes": 3.0, "fixed": 0.1}, low=0.1, high=10),
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.0}, low=0.1, high=10),
        # It holds the file once, beside what an empty page takes.
        Quantity.MEMORY: Factors({"file": 1.0, "kv": 1.0, "fixed": 0.2}, low=0.5, high=2),
    },
)


@dataclass(frozen=True, slots=True)
class Parrot:
    """See `Runtime` and `WebRuntime` in harness/runtimes/base.py for what each member means."""

    id: str = "parrot/wasm"
    backend: Literal["wasm"] = "wasm"
    quantisations: tuple[str, ...] = ("int4",)
    adapter: str = "/adapters/parrot.js"
    host: Literal["worker"] = "worker"

    def version(self) -> str:
        """Engines from npm have this, and the next two, from `NpmEngine` (base.py)."""
        return "1.0"

    def missing(self) -> str | None:
        """Nothing is missing, ever."""
        return None

    def exact_quantisation(self, model: Architecture, name: str) -> str:  # noqa: ARG002
        """`int4` stays `int4`; llama.cpp would say `q4_k`."""
        return name

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """Everything that can be known before a download belongs here."""
        if reason := not_taken(quantisation, self):
            return reason
        if model.parameters > 10_000_000:
            return "parrots remember ten million weights at most"
        return None if report.environment.wasm_simd else "the browser has no WebAssembly SIMD"

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> OnnxRecipe:  # noqa: ARG002
        """The artifact it loads."""
        return OnnxRecipe(quantisation=quantisation)

    def threads(self, report: ProbeReport) -> int:  # noqa: ARG002
        """More would only talk at once."""
        return 1

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """What predictions add up."""
        return _RECIPE

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:  # noqa: ARG002
        """What `createEngine` in parrot.js is called with."""
        return {"vocabulary": artifact.shape["vocabulary"]}


RUNTIMES: Final = (Parrot(),)
