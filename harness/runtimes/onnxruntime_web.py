"""onnxruntime-web (npm), on WebAssembly and on WebGPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from harness.runtimes.base import (
    HALF_FLOATS,
    NpmEngine,
    isolated_threads,
    no_webgpu,
    not_taken,
)
from harness.runtimes.onnxruntime_web_recipe import engine_recipe
from harness.weights.onnx.recipe import FAMILIES, QUANTISATIONS, OnnxRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "onnxruntime-web"

# More threads than this gain nothing in onnxruntime-web, whose own default is the same number.
MAX_THREADS: Final = 4

_BUNDLES: Final = {
    # The asyncify and JSPI bundles have a CPU provider without GatherBlockQuantized.
    "wasm": "ort.wasm.bundle.min.mjs",
    "webgpu": "ort.webgpu.bundle.min.mjs",
}


@dataclass(frozen=True, slots=True)
class OnnxRuntimeWeb(NpmEngine):
    """The engine on one backend."""

    package: ClassVar[str] = PACKAGE
    backend: Literal["wasm", "webgpu"]
    adapter: str = "/adapters/onnxruntime_web.js"
    host: Literal["worker"] = "worker"
    quantisations: tuple[str, ...] = QUANTISATIONS

    @property
    def id(self) -> str:
        """See `Runtime.id`."""
        return f"{PACKAGE}/{self.backend}"

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """See `Runtime.unsupported`."""
        if reason := not_taken(quantisation, self):
            return reason
        if model.family not in FAMILIES:
            return f"there is no ONNX decoder of the family {model.family} here"
        if not report.environment.wasm_simd:
            return "the browser has no WebAssembly SIMD"
        if self.backend == "wasm":
            return None
        return no_webgpu(report, needs=(HALF_FLOATS,) if quantisation == "fp16" else ())

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> OnnxRecipe:  # noqa: ARG002
        """See `Runtime.recipe`."""
        webgpu = report.backends.webgpu
        adapter = webgpu.adapter if webgpu else None
        half = self.backend == "webgpu" and adapter and HALF_FLOATS in adapter.features
        return OnnxRecipe(quantisation=quantisation, float_type="fp16" if half else "fp32")

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`."""
        return isolated_threads(report, MAX_THREADS) if self.backend == "wasm" else 1

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:
        """See `Runtime.engine`."""
        return engine_recipe(self.backend, quantisation, gpu=gpu)

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        dist = f"/npm/{PACKAGE}/dist/"
        return {
            "backend": self.backend,
            "bundle": dist + _BUNDLES[self.backend],
            "wasmPaths": dist,
            "threads": threads,
            "shape": artifact.shape,
            "floatType": artifact.float_type,
        }


RUNTIMES: Final = (OnnxRuntimeWeb("wasm"), OnnxRuntimeWeb("webgpu"))
