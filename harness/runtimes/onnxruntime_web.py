"""onnxruntime-web (npm), on WebAssembly and on WebGPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.runtimes.base import package_version
from harness.runtimes.onnxruntime_web_cost import engine_cost
from harness.weights.options import OnnxOptions

if TYPE_CHECKING:
    from harness.probe.predict import EngineCost
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "onnxruntime-web"
QUANTISATIONS: Final = ("int4", "int8", "fp16")
HALF_FLOATS: Final = "shader-f16"

# More threads than this gain nothing in onnxruntime-web, whose own default is the same number.
MAX_THREADS: Final = 4

_BUNDLES: Final = {
    # The asyncify and JSPI bundles have a CPU provider without GatherBlockQuantized.
    "wasm": "ort.wasm.bundle.min.mjs",
    "webgpu": "ort.webgpu.bundle.min.mjs",
}


@dataclass(frozen=True, slots=True)
class OnnxRuntimeWeb:
    """The engine on one backend."""

    backend: Literal["wasm", "webgpu"]
    adapter: str = "/adapters/onnxruntime_web.js"

    @property
    def id(self) -> str:
        """See `Runtime.id`."""
        return f"{PACKAGE}/{self.backend}"

    def version(self) -> str:
        """See `Runtime.version`."""
        return package_version(PACKAGE)

    def unsupported(self, quantisation: str, report: ProbeReport) -> str | None:
        """See `Runtime.unsupported`."""
        if quantisation not in QUANTISATIONS:
            return f"{self.id} takes {', '.join(QUANTISATIONS)}, not {quantisation}"
        if not report.environment.wasm_simd:
            return "the browser has no WebAssembly SIMD"
        return _no_gpu(quantisation, report) if self.backend == "webgpu" else None

    def artifact_options(self, quantisation: str, report: ProbeReport) -> OnnxOptions:
        """See `Runtime.artifact_options`."""
        webgpu = report.backends.webgpu
        adapter = webgpu.adapter if webgpu else None
        half = self.backend == "webgpu" and adapter and HALF_FLOATS in adapter.features
        return OnnxOptions(quantisation=quantisation, float_type="fp16" if half else "fp32")

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`."""
        environment = report.environment
        if self.backend != "wasm":
            return 1
        if not (environment.cross_origin_isolated and environment.wasm_threads):
            return 1
        return max(1, min(environment.hardware_concurrency or 1, MAX_THREADS))

    def cost(self, quantisation: str, artifact: Artifact, report: ProbeReport) -> EngineCost:
        """See `Runtime.cost`."""
        cost = engine_cost(self.backend, quantisation, threads=self.threads(report))
        return replace(cost, file_bytes=artifact.stored_bytes)

    def config(self, artifact: Artifact, base: str, threads: int) -> dict[str, Any]:
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        dist = f"/npm/{PACKAGE}/dist/"
        return {
            "backend": self.backend,
            "bundle": dist + _BUNDLES[self.backend],
            "wasmPaths": dist,
            "threads": threads,
            "graph": base + artifact.entry,
            "files": [
                {"name": file.name, "url": base + file.name, "bytes": file.bytes}
                for file in artifact.files
                if file.name != artifact.entry
            ],
            "shape": artifact.shape,
            "floatType": artifact.float_type,
        }


def _no_gpu(quantisation: str, report: ProbeReport) -> str | None:
    """What the WebGPU backend lacks on such a device, or `None`."""
    webgpu = report.backends.webgpu
    if not report.environment.webgpu:
        return "the browser has no WebGPU"
    if webgpu is None or webgpu.adapter is None:
        return f"no WebGPU adapter: {webgpu.reason if webgpu else 'not probed'}"
    if quantisation == "fp16" and HALF_FLOATS not in webgpu.adapter.features:
        return f"fp16 weights need {HALF_FLOATS}, which the adapter lacks"
    return None


RUNTIMES: Final = (OnnxRuntimeWeb("wasm"), OnnxRuntimeWeb("webgpu"))
