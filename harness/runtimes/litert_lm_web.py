"""LiteRT-LM for the web (npm, @litert-lm/core), on WebGPU and on WebAssembly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from harness.runtimes.base import NpmEngine, no_webgpu, not_taken
from harness.runtimes.litert_lm_web_recipe import LITERT_LM, LITERT_LM_GPU
from harness.runtimes.mediapipe import above_limits, no_graph
from harness.runtimes.mediapipe_recipe import CONTEXT_TOKENS
from harness.weights.mediapipe.recipe import QUANTISATIONS, MediaPipeRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe

PACKAGE: Final = "@litert-lm/core"


@dataclass(frozen=True, slots=True)
class LiteRtLmWeb(NpmEngine):
    """The engine on one backend."""

    package: ClassVar[str] = PACKAGE
    backend: Literal["wasm", "webgpu"]
    adapter: str = "/adapters/litert_lm_web.js"
    host: Literal["page"] = "page"
    quantisations: tuple[str, ...] = QUANTISATIONS

    @property
    def id(self) -> str:
        """See `Runtime.id`."""
        return f"litert-lm/{self.backend}"

    def unsupported(
        self, model: Architecture, quantisation: str, report: ProbeReport
    ) -> str | None:
        """See `Runtime.unsupported`."""
        return (
            not_taken(quantisation, self)
            or no_graph(model, self.id)
            or no_webgpu(report)
            or above_limits(model, quantisation, report)
        )

    def recipe(
        self,
        model: Architecture,  # noqa: ARG002
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002
    ) -> Recipe:
        """See `Runtime.recipe`."""
        return MediaPipeRecipe(quantisation, "litertlm")

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """See `Runtime.engine`."""
        return LITERT_LM_GPU if gpu else LITERT_LM

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        dist = f"/npm/{PACKAGE}/dist/"
        return {
            "backend": self.backend,
            "module": f"{dist}index.js",
            "loader": f"{dist}load_litertlm.js",
            "wasm": f"/npm/{PACKAGE}/wasm",
            "contextTokens": CONTEXT_TOKENS,
            "synthetic": artifact.kind == "synthetic",
        }


RUNTIMES: Final = (LiteRtLmWeb("webgpu"),)
