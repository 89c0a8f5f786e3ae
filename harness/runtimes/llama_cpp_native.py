"""llama.cpp on the device's own CPU: the reference of what its hardware can do.

PyPI's xllamacpp comes as wheels and follows llama.cpp closely; llama-cpp-python has sources only,
which took minutes to compile (0.3.36).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.errors import UserError
from harness.runtimes.base import not_taken
from harness.runtimes.llama_cpp_native_cost import COST
from harness.runtimes.native import (
    missing_python_package,
    native_threads,
    python_package_version,
)
from harness.weights.gguf.recipe import FAMILIES, GgufRecipe, check, exact_quantisation

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.predict import EngineCost
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "xllamacpp"
QUANTISATIONS: Final = tuple(COST.decode)


@dataclass(frozen=True, slots=True)
class LlamaCppNative:
    """The engine in a process of its own."""

    id: str = "llama.cpp/native"
    backend: Literal["native"] = "native"
    module: str = "harness.engines.llama_cpp"
    quantisations: tuple[str, ...] = QUANTISATIONS

    def version(self) -> str:
        """See `Runtime.version`; the package does not say which llama.cpp is inside."""
        return f"{PACKAGE} {python_package_version(PACKAGE)}"

    def missing(self) -> str | None:
        """See `Runtime.missing`."""
        return missing_python_package(PACKAGE)

    def exact_quantisation(self, model: Architecture, name: str) -> str:
        """See `Runtime.exact_quantisation`."""
        return exact_quantisation(model, name)

    def unsupported(
        self,
        model: Architecture,
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002 - the page's limits are not this engine's
    ) -> str | None:
        """See `Runtime.unsupported`."""
        if reason := not_taken(quantisation, self):
            return reason
        if model.family not in FAMILIES:
            return f"there is no GGUF of the family {model.family} here"
        try:
            check(model, GgufRecipe(quantisation))
        except UserError as error:
            return f"{error.problem}; {error.next_step}"
        return None

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> GgufRecipe:  # noqa: ARG002
        """See `Runtime.recipe`."""
        return GgufRecipe(quantisation=quantisation)

    def threads(self, report: ProbeReport) -> int:
        """See `Runtime.threads`."""
        return native_threads(report)

    def cost(
        self,
        model: Architecture,  # noqa: ARG002
        quantisation: str,  # noqa: ARG002
        artifact: Artifact,
        report: ProbeReport,
    ) -> EngineCost:
        """See `Runtime.cost`."""
        return replace(COST, file_bytes=artifact.stored_bytes, threads=self.threads(report))

    def config(self, artifact: Artifact, threads: int) -> dict[str, Any]:
        """See `Runtime.config`; read by `harness.engines.llama_cpp`."""
        return {
            "model": str(artifact.entry_path.resolve()),
            "bytes": artifact.total_bytes,
            "threads": threads,
            "words": artifact.kind == "synthetic",
        }


RUNTIMES: Final = (LlamaCppNative(),)
