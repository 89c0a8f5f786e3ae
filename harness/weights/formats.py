"""The formats that synthetic artifacts are written in, by the name that users type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import unknown
from harness.weights.gguf.recipe import FAMILIES as GGUF_FAMILIES
from harness.weights.gguf.recipe import QUANTISATIONS as GGUF_QUANTISATIONS
from harness.weights.gguf.recipe import GgufRecipe
from harness.weights.mediapipe.recipe import QUANTISATIONS as MEDIAPIPE_QUANTISATIONS
from harness.weights.mediapipe.recipe import MediaPipeRecipe
from harness.weights.onnx.recipe import FAMILIES as ONNX_FAMILIES
from harness.weights.onnx.recipe import QUANTISATIONS as ONNX_QUANTISATIONS
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.tflite.decoder import PrefillDecodeRecipe
from harness.weights.tflite.layer import DecoderLayerRecipe
from harness.weights.tflite.parameters import FAMILIES as TFLITE_FAMILIES
from harness.weights.tflite.parameters import QUANTISATIONS as TFLITE_QUANTISATIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.weights.plan import Recipe


MEDIAPIPE_FAMILIES = ("gemma", "gemma2", "gemma3", "gemma4")


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """One format.

    Attributes:
        name: What users type.
        engines: Which engines load it, in words.
        families: Model families that can be written.
        quantisations: Ways of storing weights, the default first.
        recipe: From a quantisation and a seed.
    """

    name: str
    engines: str
    families: tuple[str, ...]
    quantisations: tuple[str, ...]
    recipe: Callable[[str, int], Recipe]


def _onnx(quantisation: str, seed: int) -> Recipe:
    return OnnxRecipe(quantisation=quantisation, seed=seed)


def _gguf(quantisation: str, seed: int) -> Recipe:
    return GgufRecipe(quantisation=quantisation, seed=seed)


def _task(quantisation: str, seed: int) -> Recipe:
    return MediaPipeRecipe(quantisation, "task", seed)


def _litertlm(quantisation: str, seed: int) -> Recipe:
    return MediaPipeRecipe(quantisation, "litertlm", seed)


def _prefill_decode(quantisation: str, seed: int) -> Recipe:
    return PrefillDecodeRecipe(quantisation=quantisation, seed=seed)


def _layer(quantisation: str, seed: int) -> Recipe:
    return DecoderLayerRecipe(quantisation=quantisation, seed=seed)


FORMATS: dict[str, WeightFormat] = {
    form.name: form
    for form in (
        WeightFormat(
            "onnx", "onnxruntime and onnxruntime-web", ONNX_FAMILIES, ONNX_QUANTISATIONS, _onnx
        ),
        WeightFormat("gguf", "llama.cpp and wllama", GGUF_FAMILIES, GGUF_QUANTISATIONS, _gguf),
        WeightFormat(
            "task", "MediaPipe on WebGPU", MEDIAPIPE_FAMILIES, MEDIAPIPE_QUANTISATIONS, _task
        ),
        WeightFormat(
            "litertlm",
            "LiteRT-LM on WebGPU",
            MEDIAPIPE_FAMILIES,
            MEDIAPIPE_QUANTISATIONS,
            _litertlm,
        ),
        WeightFormat(
            "litertlm-cpu",
            "LiteRT-LM on processors",
            TFLITE_FAMILIES,
            TFLITE_QUANTISATIONS,
            _prefill_decode,
        ),
        WeightFormat(
            "tflite-layer",
            "LiteRT, a single decoder layer",
            TFLITE_FAMILIES,
            TFLITE_QUANTISATIONS,
            _layer,
        ),
    )
}


def find_format(name: str) -> WeightFormat:
    """The format of that name.

    Raises:
        UserError: there is none.
    """
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]
