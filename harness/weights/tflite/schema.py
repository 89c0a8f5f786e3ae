"""Numbers of the TensorFlow Lite schema: types of tensors, operators and their options.

Source: google-ai-edge/LiteRT:tflite/converter/schema/schema.fbs; versions of operators as
tflite/converter/tools/versioning/op_version.cc gives them to float32 activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final, Literal

IDENTIFIER: Final = b"TFL3"
SCHEMA_VERSION: Final = 3


class TensorType(IntEnum):
    """`TensorType` of the schema."""

    FLOAT32 = 0
    FLOAT16 = 1
    INT32 = 2
    INT8 = 9
    INT4 = 17


@dataclass(frozen=True, slots=True)
class Kind:
    """What an operator is to the schema.

    Attributes:
        code: `BuiltinOperator`.
        options: Its member of the union `BuiltinOptions`; 0 is none.
        version: Of the operator.
    """

    code: int
    options: int
    version: int = 1


class Op(Enum):
    """The operators that decoders are made of."""

    ADD = Kind(0, 11)
    BATCH_MATMUL = Kind(126, 101)
    CAST = Kind(53, 37)
    CONCATENATION = Kind(2, 10)
    COS = Kind(108, 84)
    DYNAMIC_UPDATE_SLICE = Kind(151, 117)
    EMBEDDING_LOOKUP = Kind(7, 0)
    EMBEDDING_LOOKUP_QUANTISED = Kind(7, 0, 4)
    FULLY_CONNECTED = Kind(9, 8, 6)
    FULLY_CONNECTED_HYBRID = Kind(9, 8, 12)
    GELU = Kind(150, 116)
    LOGISTIC = Kind(14, 0)
    MEAN = Kind(40, 27)
    MINIMUM = Kind(57, 39)
    MUL = Kind(18, 21)
    RESHAPE = Kind(22, 17)
    RSQRT = Kind(76, 0)
    SIN = Kind(66, 0)
    SLICE = Kind(65, 48)
    SOFTMAX = Kind(25, 9)
    SPLIT = Kind(49, 35)
    SUB = Kind(41, 28)
    TANH = Kind(28, 0)
    TRANSPOSE = Kind(39, 26)


@dataclass(frozen=True, slots=True)
class Option:
    """One field of an operator's options: its slot in the table, and a value."""

    slot: int
    type: Literal["bool", "int8", "int32", "float32"]
    value: float


KEEP_DIMENSIONS: Final = Option(2, "bool", 1)  # FULLY_CONNECTED: the output has the input's rank
ASYMMETRIC_INPUTS: Final = Option(3, "bool", 1)  # FULLY_CONNECTED: inputs rounded with an offset
TRANSPOSED_RIGHT: Final = Option(1, "bool", 1)  # BATCH_MATMUL
KEEP_REDUCED: Final = Option(0, "bool", 1)  # MEAN
TANH_APPROXIMATION: Final = Option(0, "bool", 1)  # GELU
