"""LiteRT-LM on the device's own CPU, through PyPI's litert-lm-api."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from harness.runtimes.base import not_taken, not_written
from harness.runtimes.litert_lm_native_recipe import LITERT_LM_NATIVE, QUANTISATIONS
from harness.runtimes.native import PythonEngine
from harness.weights.tflite import PrefillDecodeRecipe

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport

PACKAGE: Final = "litert-lm-api"


@dataclass(frozen=True, slots=True)
class LiteRtLmNative(PythonEngine):
    """The engine in a process of its own."""

    package: ClassVar[str] = PACKAGE
    id: str = "litert-lm/native"
    backend: Literal["native"] = "native"
    module: str = "harness.engines.litert_lm"
    quantisations: tuple[str, ...] = QUANTISATIONS

    def unsupported(
        self,
        model: Architecture,
        quantisation: str,
        report: ProbeReport,  # noqa: ARG002 - the page's limits are not this engine's
    ) -> str | None:
        """See `Runtime.unsupported`."""
        return not_taken(quantisation, self) or not_written(
            model, PrefillDecodeRecipe(quantisation=quantisation)
        )

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
        return LITERT_LM_NATIVE


RUNTIMES: Final = (LiteRtLmNative(),)
