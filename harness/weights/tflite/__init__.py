"""TensorFlow Lite graphs (`.tflite`), written without TensorFlow."""

from harness.weights.tflite.decoder import PrefillDecodeRecipe
from harness.weights.tflite.layer import DecoderLayerRecipe

__all__ = ["DecoderLayerRecipe", "PrefillDecodeRecipe"]
