"""An engine that says the prompt again: the smallest module that a trial accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels
from harness.runtimes.base import not_taken
from harness.weights.onnx.recipe import OnnxRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

# What the engine costs on top of a device's speed: data, each with where it is from.
_COST: Final = EngineCost(
    name="parrot/wasm",
    backend="wasm",
    decode={"int4": DecodeKernels(body="int4_layer", head="int4_head")},
    prefill={"int4": PrefillKernels(product="gemm_m16")},
    operations_per_layer=0,
    operations_fixed=1,
    load_bytes_per_s=Band(0.1e9, 0.3e9, 2e9),
    load_fixed_s=Band(0, 0.1, 1),
    # It holds the file once, beside what an empty page takes.
    memory=MemoryModel(
        load_copies=Band(1, 1, 1.5),
        run_copies=Band(1, 1, 1.5),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.1e9, 0.2e9, 0.4e9),
    ),
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

    def cost(
        self,
        model: Architecture,  # noqa: ARG002
        quantisation: str,  # noqa: ARG002
        artifact: Artifact,  # noqa: ARG002
        report: ProbeReport,  # noqa: ARG002
    ) -> EngineCost:
        """What the prediction adds up."""
        return _COST

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:  # noqa: ARG002
        """What `createEngine` in parrot.js is called with."""
        return {"vocabulary": artifact.shape["vocabulary"]}


RUNTIMES: Final = (Parrot(),)
