"""LiteRT-LM for the web (npm, @litert-lm/core) on the processor: `Backend.CPU` as WebAssembly.

Beside the same engine on WebGPU (`litert_lm_web`, whose adapter it shares) it takes other files:
graphs with signatures for prefill and decode, as the engine takes them natively.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from harness.models import find_quantisation
from harness.runtimes.base import NpmEngine, not_taken, not_written
from harness.runtimes.litert_lm_wasm_recipe import LITERT_LM_WASM, QUANTISATIONS
from harness.runtimes.litert_lm_web import PACKAGE, LiteRtLmWeb
from harness.weights.tflite import PrefillDecodeRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact


# A model of 2.52 GB ended as `TF_LITE_PREFILL_DECODE not found in the model.`, whatever the memory:
# offsets in the file are numbers of 32 bits with a sign there.
MOST_BYTES: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class LiteRtLmWasm(NpmEngine):
    """The engine on the processor."""

    package: ClassVar[str] = PACKAGE
    id: str = "litert-lm/wasm"
    backend: Literal["wasm"] = "wasm"
    adapter: str = "/adapters/litert_lm_web.js"
    host: Literal["page"] = "page"
    quantisations: tuple[str, ...] = QUANTISATIONS

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """See `Runtime.unsupported`."""
        recipe = PrefillDecodeRecipe(quantisation=quantisation)
        if reason := not_taken(quantisation, self) or not_written(model, recipe):
            return reason
        size = model.parameters * find_quantisation(quantisation).bits // 8
        if size > MOST_BYTES:
            return f"{size / 1e9:.2f} GB of weights: {self.id} finds nothing in a file above 2 GiB"
        return None if report.environment.wasm_simd else "the browser has no WebAssembly SIMD"

    def recipe(
        self,
        model: Architecture,  # noqa: ARG002
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002
    ) -> PrefillDecodeRecipe:
        """See `Runtime.recipe`."""
        return PrefillDecodeRecipe(quantisation=quantisation)

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """See `Runtime.engine`."""
        return LITERT_LM_WASM

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:
        """See `Runtime.config`; the adapter is that of `litert_lm_web`."""
        return LiteRtLmWeb(self.backend).config(artifact, threads)


RUNTIMES: Final = (LiteRtLmWasm(),)
