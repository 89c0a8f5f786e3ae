"""MediaPipe's LLM inference for the web (npm, tasks-genai) on WebGPU.

Its makers keep it running and point to LiteRT-LM (`litert_lm_web`), which loads the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from harness.runtimes.base import NpmEngine, no_webgpu, not_taken
from harness.runtimes.mediapipe_recipe import CONTEXT_TOKENS, MEDIAPIPE, MEDIAPIPE_GPU
from harness.weights.mediapipe.recipe import (
    QUANTISATIONS,
    MediaPipeRecipe,
    largest_tensor,
    takes,
)

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "@mediapipe/tasks-genai"


@dataclass(frozen=True, slots=True)
class MediaPipe(NpmEngine):
    """The engine."""

    package: ClassVar[str] = PACKAGE
    id: str = "mediapipe/webgpu"
    backend: Literal["webgpu"] = "webgpu"
    adapter: str = "/adapters/mediapipe.js"
    host: Literal["worker"] = "worker"
    quantisations: tuple[str, ...] = QUANTISATIONS

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
    ) -> MediaPipeRecipe:
        """See `Runtime.recipe`."""
        return MediaPipeRecipe(quantisation, "task")

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """See `Runtime.engine`."""
        return MEDIAPIPE_GPU if gpu else MEDIAPIPE

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Runtime.config`; the fields are those of `Config` in the adapter."""
        return {
            "module": f"/npm/{PACKAGE}/genai_bundle.mjs",
            "wasm": f"/npm/{PACKAGE}/wasm",
            "contextTokens": CONTEXT_TOKENS,
            "synthetic": artifact.kind == "synthetic",
        }


def no_graph(model: Architecture, engine: str) -> str | None:
    """Why the engine cannot run such a model at all, or `None`."""
    return None if takes(model) else f"{engine} has no graph for {model.id}"


def above_limits(model: Architecture, quantisation: str, report: ProbeReport) -> str | None:
    """Which of the model's tensors is too large for one buffer of the GPU, or `None`.

    The engine itself does not say: it loads "well", with rejected commands on the console only.
    """
    webgpu = report.backends.webgpu
    if webgpu is None or webgpu.adapter is None:
        return None
    largest = largest_tensor(model, quantisation)
    for name in ("maxBufferSize", "maxStorageBufferBindingSize"):
        limit = webgpu.adapter.limit(name)
        if limit is not None and largest > limit:
            return f"its largest tensor has {largest} bytes, above the adapter's {name} of {limit}"
    return None


RUNTIMES: Final = (MediaPipe(),)
