"""Descriptions of stored tensors: shape, type, and what they are filled with. No bytes here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Element = Literal["uint8", "float16", "float32"]

ELEMENT_BYTES: dict[Element, int] = {"uint8": 1, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Bits:
    """Every bit random: quantised weights, whatever their width."""


@dataclass(frozen=True, slots=True)
class Uniform:
    """Magnitudes even in `[low, high)`, each with a random sign where `signed`."""

    low: float
    high: float
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Rotary:
    """The cosine or sine table of rotary positions: `[positions, head_dim / 2]`.

    The angle of column j at position p is `p * base ** (-2 j / head_dim)` (RoFormer, section
    3.4.2).
    """

    base: float
    part: Literal["cos", "sin"]


@dataclass(frozen=True, slots=True)
class Pruned:
    """Weights of which a share is exactly zero, at random places; the others are as `of` has them.

    Attributes:
        of: Codes or floats. A code stands for zero when it is the one in the middle,
            `2 ** (bits - 1)`.
        zero_share: Of all weights; codes that are in the middle by chance count.
        bits: Of one code: 4, two to a byte, or 8.
    """

    of: Bits | Uniform
    zero_share: float
    bits: Literal[4, 8] = 8


Fill = Bits | Uniform | Rotary | Pruned


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model.

    Attributes:
        name: Unique in its model; with the seed it decides on the bytes.
        shared: Tensors of the same `shared` name have the same bytes and are stored once.
    """

    name: str
    element: Element
    shape: tuple[int, ...]
    fill: Fill
    shared: str | None = None

    @property
    def bytes(self) -> int:
        """Stored size."""
        return math.prod(self.shape) * ELEMENT_BYTES[self.element]

    @property
    def storage(self) -> str:
        """The name its bytes go by."""
        return self.shared or self.name
