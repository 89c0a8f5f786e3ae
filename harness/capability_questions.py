"""What the libraries of the field are asked, beside the engines that trials load models with.

Each question is data: a library, a backend, something to do, and what the browser needs for it. The
page `harness/web/static/capabilities/` does it and checks the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.models import MODELS, tiny
from harness.runtimes.base import no_webgpu
from harness.weights.onnx.transformers_js import TransformersJsRecipe
from harness.weights.tflite.layer import DecoderLayerRecipe
from harness.weights.tokenizer import FIRST_WORD, text_of

if TYPE_CHECKING:
    from harness.models import Architecture
    from harness.probe.report import ProbeReport
    from harness.weights.artifact import Artifact
    from harness.weights.cache import ArtifactCache
    from harness.weights.plan import Recipe

TENSORFLOW: Final = "tensorflow.js"
TRANSFORMERS: Final = "transformers.js"
LITERT: Final = "litert.js"
NATIVE_LITERT: Final = "litert"

# npm packages whose versions say which library it was.
PACKAGES: Final = {
    TENSORFLOW: ("@tensorflow/tfjs-core",),
    TRANSFORMERS: (
        "@huggingface/transformers",
        "@huggingface/transformers/node_modules/onnxruntime-web",
    ),
    LITERT: ("@litertjs/core",),
}

_BUDGET_MS: Final = 300
# On WebAssembly LiteRT has the native engine's kernels: 6e-7 was seen with float weights, and with
# quantised ones for one token. For several tokens at once both round activations to 8 bits, and not
# in the same way: 0.0064 (int8) and 0.007 (int4) at the width of gemma-3-270m. On WebGPU
# activations stay floats: 0.0135 (SwiftShader). A wrong layer is off by about 1.
_TOLERANCES: Final = {"wasm": 0.02, "webgpu": 0.05}
_SECONDS: Final = 120.0

Backend = Literal["cpu", "wasm", "webgl", "webgpu"]


@dataclass(frozen=True, slots=True)
class Shape:
    """A product of matrices: `[rows, inner]` times `[inner, columns]`."""

    rows: int
    inner: int
    columns: int


@dataclass(frozen=True, slots=True)
class Question:
    """One library, one backend, one thing to do.

    Attributes:
        ability: What is to be done, in words.
        model, recipe: The artifact it is done with, if any.
        argument: What the page's module is given; what follows from the artifact is added.
        simd: Whether WebAssembly SIMD is needed.
        within: Seconds that the page may take.
        tolerance: How far its output may be from the native engine's: root mean square of the
            difference over that of the output. `None`: the page checks the result by itself.
    """

    library: str
    backend: Backend
    ability: str
    argument: dict[str, Any] = field(default_factory=dict)
    model: Architecture | None = None
    recipe: Recipe | None = None
    simd: bool = False
    within: float = _SECONDS
    tolerance: float | None = None

    def __str__(self) -> str:
        return f"{self.library}-{self.backend}"

    def artifact(self, cache: ArtifactCache) -> Artifact | None:
        """The artifact it needs, made where it is missing.

        Raises:
            UserError: it cannot be made.
        """
        if self.model is None or self.recipe is None:
            return None
        return cache.ensure(self.model, self.recipe)

    def obstacle(self, report: ProbeReport) -> str | None:
        """What the browser lacks for it, known before anything is downloaded, or `None`."""
        if self.simd and not report.environment.wasm_simd:
            return "the browser has no WebAssembly SIMD"
        if self.backend == "wasm" and not report.environment.wasm:
            return "the browser has no WebAssembly"
        return no_webgpu(report) if self.backend == "webgpu" else None

    def request(self, artifact: Artifact | None, base: str) -> dict[str, Any]:
        """What the page is asked.

        Args:
            artifact: From `artifact`.
            base: The path that its directory is served at, with a slash at the end.
        """
        argument = dict(self.argument)
        if artifact is not None and self.library == TRANSFORMERS:
            argument |= {"models": base.removesuffix(f"{artifact.key}/"), "model": artifact.key}
        elif artifact is not None:
            argument |= {"model": base + artifact.entry}
        return {"library": self.library, "backend": self.backend, "argument": argument}


def _shapes(model: Architecture) -> list[dict[str, int]]:
    """A step of decoding and a short prefill through the first feed-forward matrix of a layer."""
    return [asdict(Shape(rows, model.hidden, model.ffn)) for rows in (1, 16)]


def products(backend: Backend, *, full: bool = False) -> Question:
    """Matrices of a model's shapes, multiplied by TensorFlow.js.

    Plain JavaScript and a GPU in software take the smallest model's; with `full` they too take
    those of gemma-2b, which is a minute there.
    """
    large = _shapes(MODELS["gemma-2b"])
    slow = large if full else _shapes(MODELS["gemma-3-270m"])
    return Question(
        TENSORFLOW,
        backend,
        "multiplies matrices of a model's shapes",
        {"shapes": large, "slowShapes": slow, "budgetMs": _BUDGET_MS},
        within=600.0 if full else _SECONDS,
    )


def generation(
    backend: Backend, model: Architecture, *, prompt_tokens: int = 16, output_tokens: int = 4
) -> Question:
    """Tokens generated by Transformers.js from a directory on this machine."""
    words = model.vocabulary - FIRST_WORD
    prompt = [FIRST_WORD + 7 * position % words for position in range(1, prompt_tokens + 1)]
    return Question(
        TRANSFORMERS,
        backend,
        f"loads a model's directory and generates tokens ({model.id}, int4)",
        {"text": text_of(prompt), "ids": prompt, "count": output_tokens},
        model,
        TransformersJsRecipe(),
        simd=True,
        within=600.0 if model.layers > tiny(model).layers else _SECONDS,
    )


def layer(backend: Backend, model: Architecture) -> Question:
    """One layer of a decoder on LiteRT.js, of the model's widths."""
    recipe = DecoderLayerRecipe()
    return Question(
        LITERT,
        backend,
        f"runs a decoder layer ({model.id}, {recipe.quantisation}, {recipe.tokens} tokens)",
        {
            "shape": [1, recipe.tokens, model.hidden],
            "numbers": [((i * 7919) % 1009) / 252 - 2 for i in range(1009)],
            "budgetMs": _BUDGET_MS,
        },
        model,
        recipe,
        simd=True,
        tolerance=_TOLERANCES[backend],
    )


# Two layers: compiling for a GPU in software takes most of the time, and grows with them.
_TINY: Final = tiny(MODELS["gemma-2b"])

QUESTIONS: Final = (
    products("cpu"),
    products("wasm"),
    products("webgl"),
    products("webgpu"),
    generation("wasm", _TINY),
    generation("webgpu", _TINY),
    layer("wasm", _TINY),
    layer("webgpu", _TINY),
)
