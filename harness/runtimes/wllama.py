"""wllama (npm): llama.cpp as WebAssembly, on the CPU and on WebGPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from harness.packages import node_modules
from harness.runtimes.base import (
    HALF_FLOATS,
    NpmEngine,
    isolated_threads,
    no_webgpu,
    not_taken,
    not_written,
    package_version,
)
from harness.runtimes.wllama_recipe import CONTEXT_TOKENS, QUANTISATIONS, WASM, WEBGPU, WEBGPU_GPU
from harness.weights.gguf.recipe import GgufRecipe, exact_quantisation

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "@wllama/wllama"
_LLAMA: Final = re.compile(r"LIBLLAMA_VERSION = \"(b\d+-[0-9a-f]+)\"")

# Its threads wait for each other in every operation: more than there are fast cores only slow it.
MAX_THREADS: Final = 8


@dataclass(frozen=True, slots=True)
class Wllama(NpmEngine):
    """The engine on one backend."""

    package: ClassVar[str] = PACKAGE
    backend: Literal["wasm", "webgpu"]
    adapter: str = "/adapters/wllama.js"
    host: Literal["worker"] = "worker"
    quantisations: tuple[str, ...] = QUANTISATIONS

    @property
    def id(self) -> str:
        """See `Runtime.id`."""
        return f"wllama/{self.backend}"

    def version(self) -> str:
        """The package's version, and that of the llama.cpp inside: `3.8.1 (b11364-46ca246)`."""
        version = package_version(PACKAGE)
        module = node_modules() / PACKAGE / "esm" / "index.js"
        found = _LLAMA.search(module.read_text(encoding="utf-8")) if module.is_file() else None
        return f"{version} ({found[1]})" if found else version

    def exact_quantisation(self, model: Architecture, name: str) -> str:
        """See `Runtime.exact_quantisation`."""
        return exact_quantisation(model, name)

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """See `Runtime.unsupported`."""
        recipe = GgufRecipe(quantisation)
        if reason := not_taken(quantisation, self) or not_written(model, recipe):
            return reason
        environment = report.environment
        if not environment.wasm_simd:
            return "the browser has no WebAssembly SIMD"
        if not environment.wasm_memory64:
            return "the browser has no 64-bit WebAssembly memory (and the slower build is not used)"
        return no_webgpu(report, needs=(HALF_FLOATS,)) if self.backend == "webgpu" else None

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> GgufRecipe:  # noqa: ARG002
        """See `Runtime.recipe`."""
        return GgufRecipe(quantisation=quantisation)

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`."""
        return isolated_threads(report, MAX_THREADS) if self.backend == "wasm" else 1

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """See `Runtime.engine`."""
        if self.backend == "wasm":
            return WASM
        return WEBGPU_GPU if gpu else WEBGPU

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        dist = f"/npm/{PACKAGE}/esm/"
        return {
            "backend": self.backend,
            "module": f"{dist}index.js",
            "wasm": f"{dist}wasm/wllama.wasm",
            "threads": threads,
            "contextTokens": CONTEXT_TOKENS,
            "needs": [HALF_FLOATS],
        }


RUNTIMES: Final = (Wllama("wasm"), Wllama("webgpu"))
