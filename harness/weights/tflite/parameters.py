"""The weights of a decoder as a `.tflite` file stores them.

    int8   codes in rows, one float32 factor a row ("per channel")
    int4   the same with codes of 4 bits for the vocabulary table; all other matrices have one
           float16 factor for each block of 32 weights ("blockwise")
    fp32   as it is

These are what XNNPACK multiplies as they are, with the input rounded to int8 row by row
(google-ai-edge/LiteRT:tflite/delegates/xnnpack/xnnpack_delegate.cc, `VisitFullyConnectedNode`). It
takes no factor that is zero or negative: rows of zeros have codes of zero.

Weights are drawn so that activations keep a variance near one: elements of a matrix with k columns
have a standard deviation of 1/sqrt(k).
"""

from __future__ import annotations

import math
from typing import Final

from harness.errors import UserError
from harness.models import Architecture, find_quantisation
from harness.weights.tensors import Bits, TensorSpec, Uniform
from harness.weights.tflite.graph import Weight
from harness.weights.tflite.schema import TensorType
from harness.weights.tokenizer import FIRST_WORD

QUANTISATIONS: Final = ("int8", "int4", "fp32")
FAMILIES: Final = ("gemma", "gemma2", "gemma3", "qwen2")

_CODE_TYPES: Final = {4: TensorType.INT4, 8: TensorType.INT8}
# A value, evenly spread over all codes of an integer type, has this standard deviation in codes.
_CODE_DEVIATION: Final = {bits: math.sqrt((4**bits - 1) / 12) for bits in _CODE_TYPES}
# Evenly spread over [-a, a] has a standard deviation of a / sqrt(3).
_UNIFORM_LIMIT: Final = math.sqrt(3)
# Codes reach one further down than up. Random signs in the norms before each matrix keep this from
# giving every product the same bias: factors of rows cannot have signs here.
_NORM: Final = Uniform(0.9, 1.1, signed=True)
# With one table for the embedding and the head, a random model would repeat its last token for
# ever; random signs in the last norm break this, and a magnitude of 2 gives the logits a standard
# deviation of about 2.
_FINAL_NORM: Final = Uniform(1.5, 2.5, signed=True)
_BIAS: Final = Uniform(0.0, 0.1, signed=True)


def check(model: Architecture, quantisation: str) -> None:
    """Raise for what cannot be written.

    Raises:
        UserError: unknown quantisation, a family without a graph, or a width that does not divide
            by the block.
    """
    block = find_quantisation(quantisation).block if quantisation == "int4" else None
    if quantisation not in QUANTISATIONS:
        find_quantisation(quantisation)
        raise UserError(
            f"TensorFlow Lite graphs are not written with {quantisation} weights",
            f"use {', '.join(QUANTISATIONS)}",
        )
    if model.family not in FAMILIES:
        raise UserError(
            f"no TensorFlow Lite graph for {model.id}: its family is {model.family}",
            f"families that are written: {', '.join(FAMILIES)}",
        )
    for width in (model.hidden, model.ffn, model.query_width):
        if block and width % block:
            raise UserError(
                f"{model.id}: width {width} is not a multiple of the block of {block} that "
                f"{quantisation} needs",
                "use int8",
            )
    if model.vocabulary <= FIRST_WORD:
        raise UserError(
            f"{model.id}: a vocabulary of {model.vocabulary} is too small for a tokenizer",
            f"it needs more than {FIRST_WORD} entries",
        )


def matrix(quantisation: str, name: str, rows: int, columns: int) -> Weight:
    """A matrix of a layer, `[rows, columns]`."""
    if quantisation == "fp32":
        return _plain(name, rows, columns)
    if quantisation == "int8":
        return _by_channel(name, rows, columns, 8)
    block = find_quantisation("int4").block or columns
    low, high = _factors(4, columns)
    scales = (rows, columns // block)
    return Weight(
        name,
        TensorType.INT4,
        (rows, columns),
        TensorSpec(name, "uint8", (rows, columns // 2), Bits()),
        block_scales=Weight(
            f"{name}.scales",
            TensorType.FLOAT16,
            scales,
            TensorSpec(f"{name}.scales", "float16", scales, Uniform(low, high)),
        ),
    )


def table(quantisation: str, name: str, model: Architecture) -> Weight:
    """A vocabulary table; rows of ids that are no words are zero."""
    if quantisation == "fp32":
        return _plain(name, model.vocabulary, model.hidden, FIRST_WORD)
    bits = find_quantisation(quantisation).bits
    return _by_channel(name, model.vocabulary, model.hidden, bits, FIRST_WORD)


def norm(name: str, width: int, *, final: bool = False) -> Weight:
    """The factors of a norm."""
    return _vector(name, width, _FINAL_NORM if final else _NORM)


def bias(name: str, width: int) -> Weight:
    """What is added to a product."""
    return _vector(name, width, _BIAS)


def _vector(name: str, width: int, fill: Uniform) -> Weight:
    return Weight(name, TensorType.FLOAT32, (width,), TensorSpec(name, "float32", (width,), fill))


def _plain(name: str, rows: int, columns: int, zero_rows: int = 0) -> Weight:
    fill = Uniform(0.0, _UNIFORM_LIMIT / math.sqrt(columns), signed=True)
    content = TensorSpec(name, "float32", (rows - zero_rows, columns), fill)
    return Weight(name, TensorType.FLOAT32, (rows, columns), content, zero_rows * columns * 4)


def _by_channel(name: str, rows: int, columns: int, bits: int, zero_rows: int = 0) -> Weight:
    row_bytes = columns * bits // 8
    low, high = _factors(bits, columns)
    return Weight(
        name,
        _CODE_TYPES[bits],
        (rows, columns),
        TensorSpec(name, "uint8", (rows - zero_rows, row_bytes), Bits()),
        zero_rows * row_bytes,
        channel_scales=TensorSpec(f"{name}.scales", "float32", (rows,), Uniform(low, high)),
    )


def _factors(bits: int, columns: int) -> tuple[float, float]:
    """Bounds of the factors of codes in a matrix with so many columns."""
    scale = 1 / (_CODE_DEVIATION[bits] * math.sqrt(columns))
    return 0.8 * scale, 1.2 * scale
