"""llama.cpp on the device's own CPU: the reference of what its hardware can do.

PyPI's xllamacpp comes as wheels and follows llama.cpp closely; llama-cpp-python has sources only,
which took minutes to compile (0.3.36).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Literal

from harness.runtimes.base import not_taken, not_written
from harness.runtimes.llama_cpp_native_recipe import LLAMA_CPP, QUANTISATIONS
from harness.runtimes.native import PythonEngine
from harness.weights.gguf.recipe import GgufRecipe, exact_quantisation

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.recipe import EngineRecipe
    from harness.probe.report import ProbeReport

PACKAGE: Final = "xllamacpp"


@dataclass(frozen=True, slots=True)
class LlamaCppNative(PythonEngine):
    """The engine in a process of its own."""

    package: ClassVar[str] = PACKAGE
    id: str = "llama.cpp/native"
    backend: Literal["native"] = "native"
    module: str = "harness.engines.llama_cpp"
    quantisations: tuple[str, ...] = QUANTISATIONS

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
        return not_taken(quantisation, self) or not_written(model, GgufRecipe(quantisation))

    def recipe(self, model: Architecture, quantisation: str, report: ProbeReport) -> GgufRecipe:  # noqa: ARG002
        """See `Runtime.recipe`."""
        return GgufRecipe(quantisation=quantisation)

    def engine(self, quantisation: str, *, gpu: bool) -> EngineRecipe:  # noqa: ARG002
        """See `Runtime.engine`."""
        return LLAMA_CPP


RUNTIMES: Final = (LlamaCppNative(),)
