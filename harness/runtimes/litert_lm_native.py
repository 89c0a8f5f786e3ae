"""LiteRT-LM on the device's own CPU, through PyPI's litert-lm-api."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.errors import UserError
from harness.runtimes.base import not_taken
from harness.runtimes.litert_lm_native_cost import COST
from harness.runtimes.native import (
    missing_python_package,
    native_threads,
    python_package_version,
)
from harness.weights.tflite import PrefillDecodeRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.predict import EngineCost
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact

PACKAGE: Final = "litert-lm-api"
QUANTISATIONS: Final = tuple(COST.decode)


@dataclass(frozen=True, slots=True)
class LiteRtLmNative:
    """The engine in a process of its own."""

    id: str = "litert-lm/native"
    backend: Literal["native"] = "native"
    module: str = "harness.engines.litert_lm"
    quantisations: tuple[str, ...] = QUANTISATIONS

    def version(self) -> str:
        """See `Runtime.version`."""
        return f"{PACKAGE} {python_package_version(PACKAGE)}"

    def missing(self) -> str | None:
        """See `Runtime.missing`."""
        return missing_python_package(PACKAGE)

    def exact_quantisation(self, model: Architecture, name: str) -> str:  # noqa: ARG002
        """See `Runtime.exact_quantisation`."""
        return name

    def unsupported(
        self,
        model: Architecture,
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002 - the page's limits are not this engine's
    ) -> str | None:
        """See `Runtime.unsupported`."""
        if reason := not_taken(quantisation, self):
            return reason
        try:
            PrefillDecodeRecipe(quantisation=quantisation).key(model)
        except UserError as error:
            return f"{error.problem}; {error.next_step}"
        return None

    def recipe(
        self,
        model: Architecture,  # noqa: ARG002
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002
    ) -> PrefillDecodeRecipe:
        """See `Runtime.recipe`."""
        return PrefillDecodeRecipe(quantisation=quantisation)

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
        """See `Runtime.config`; read by `harness.engines.litert_lm`."""
        return {
            "model": str(artifact.entry_path.resolve()),
            "bytes": artifact.total_bytes,
            "threads": threads,
            "words": artifact.kind == "synthetic",
        }


RUNTIMES: Final = (LiteRtLmNative(),)
