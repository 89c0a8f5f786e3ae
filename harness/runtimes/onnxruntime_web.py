"""onnxruntime-web (npm), on WebAssembly and on WebGPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.errors import unknown
from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels
from harness.runtimes.base import package_version
from harness.weights.options import OnnxOptions

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.predict import EngineCost
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "onnxruntime-web"
QUANTISATIONS: Final = ("int4", "int8", "fp16")

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

    def unsupported(self, report: ProbeReport) -> str | None:
        """See `Runtime.unsupported`."""
        environment = report.environment
        if not environment.wasm_simd:
            return "the browser has no WebAssembly SIMD"
        if self.backend == "wasm":
            return None
        if not environment.webgpu:
            return "the browser has no WebGPU"
        webgpu = report.backends.webgpu
        if webgpu is None or webgpu.adapter is None:
            return f"no WebGPU adapter: {webgpu.reason if webgpu else 'not probed'}"
        return None

    def artifact_options(self, quantisation: str, report: ProbeReport) -> OnnxOptions:
        """See `Runtime.artifact_options`."""
        if quantisation not in QUANTISATIONS:
            raise unknown(f"quantisation for {self.id}", quantisation, QUANTISATIONS)
        webgpu = report.backends.webgpu
        adapter = webgpu.adapter if webgpu else None
        half = self.backend == "webgpu" and adapter and "shader-f16" in adapter.features
        return OnnxOptions(quantisation=quantisation, float_type="fp16" if half else "fp32")

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`."""
        environment = report.environment
        if self.backend != "wasm":
            return 1
        if not (environment.cross_origin_isolated and environment.wasm_threads):
            return 1
        return max(1, min(environment.hardware_concurrency or 1, MAX_THREADS))

    def cost(self, model: Architecture, artifact: Artifact, report: ProbeReport) -> EngineCost:
        """See `Runtime.cost`."""
        decode = {q: DecodeKernels(f"{q}_layer" if q != "fp16" else "fp16_head", f"{q}_head") for q in QUANTISATIONS}
        return EngineCost(name=self.id, backend=self.backend, decode=decode, prefill={q: PrefillKernels("gemm_m16", "dequant_int4") for q in QUANTISATIONS},
            operations_per_layer=20, operations_fixed=10, memory=MemoryModel(Band(1.9,2,2.1),Band(.9,1,1.1),Band(1e8,1.5e8,3e8)), load_bytes_per_s=Band(1e8,2e8,4e8), load_fixed_s=Band(.5,1,2), threads=self.threads(report), scale_bytes=4, table_scales=2, heap_bytes=1<<32)

    def config(self, artifact: Artifact, base: str, report: ProbeReport) -> dict[str, Any]:
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        dist = f"/npm/{PACKAGE}/dist/"
        return {
            "backend": self.backend,
            "bundle": dist + _BUNDLES[self.backend],
            "wasmPaths": dist,
            "threads": self.threads(report),
            "graph": base + artifact.entry,
            "files": [
                {"name": file.name, "url": base + file.name, "bytes": file.bytes}
                for file in artifact.files
                if file.name != artifact.entry
            ],
            "shape": artifact.shape,
            "floatType": artifact.float_type,
        }


RUNTIMES: Final = (OnnxRuntimeWeb("wasm"), OnnxRuntimeWeb("webgpu"))
