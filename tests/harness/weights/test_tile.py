"""The random source of tensor bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.tensors import Bits, Element, Rotary, TensorSpec, Uniform
from harness.weights.tile import PIECE_BYTES, TILE_BYTES, TileSource


def values(tensor: TensorSpec, seed: int = 1) -> npt.NDArray[Any]:
    content = b"".join(bytes(piece) for piece in TileSource(seed).pieces(tensor))
    return np.frombuffer(content, np.dtype(tensor.element)).reshape(tensor.shape)


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(1, 3 * PIECE_BYTES),
    element=st.sampled_from(["uint8", "float16", "float32"]),
    seed=st.integers(0, 2**64),
)
def test_exactly_the_bytes_that_were_asked_for(count: int, element: Element, seed: int) -> None:
    fill = Bits() if element == "uint8" else Uniform(1.0, 2.0)
    tensor = TensorSpec("t", element, (count,), fill)
    pieces = [len(piece) for piece in TileSource(seed).pieces(tensor)]
    assert sum(pieces) == tensor.bytes
    assert max(pieces) <= PIECE_BYTES


def test_neither_order_nor_company_changes_a_tensor() -> None:
    tensors = [TensorSpec(f"t{n}", "uint8", (PIECE_BYTES + n,), Bits()) for n in range(3)]
    source = TileSource(1)
    forward = [b"".join(map(bytes, source.pieces(tensor))) for tensor in tensors]
    source = TileSource(1)
    backward = [b"".join(map(bytes, source.pieces(tensor))) for tensor in reversed(tensors)]
    assert forward == backward[::-1]
    assert len({content[:PIECE_BYTES] for content in forward}) == 3


def test_bytes_are_even_and_pieces_differ() -> None:
    drawn = values(TensorSpec("t", "uint8", (2 * TILE_BYTES,), Bits()))
    counts = np.bincount(drawn, minlength=256)
    assert abs(counts / counts.mean() - 1).max() < 0.05
    pieces = drawn.reshape(-1, PIECE_BYTES)
    assert len({piece.tobytes() for piece in pieces}) == len(pieces)
    agreement = np.corrcoef(pieces.astype(np.float32))
    assert abs(agreement - np.eye(len(pieces))).max() < 0.05


# One larger than a piece, which goes by the tile, and one that is drawn directly.
@pytest.mark.parametrize("count", [1000, 3_000_000])
@pytest.mark.parametrize("element", ["float16", "float32"])
@pytest.mark.parametrize("fill", [Uniform(0.8, 1.2), Uniform(0.0, 0.02, signed=True)])
def test_floats_have_the_range_and_the_spread(count: int, element: Element, fill: Uniform) -> None:
    drawn = values(TensorSpec("t", element, (count,), fill)).astype(np.float64)
    size = np.abs(drawn)
    assert size.max() <= fill.high * (1 + 1 / 64)
    assert size.min() >= fill.low * (1 - 1 / 64)
    assert abs(size.mean() / ((fill.low + fill.high) / 2) - 1) < 0.1
    negative = (drawn < 0).mean()
    assert abs(negative - (0.5 if fill.signed else 0)) < 0.1
    if fill.signed and not fill.low:
        assert abs(drawn.std() / (fill.high / math.sqrt(3)) - 1) < 0.1


@pytest.mark.parametrize("part", ["cos", "sin"])
def test_rotary_tables(part: str) -> None:
    fill = Rotary(10_000.0, "cos" if part == "cos" else "sin")
    table = values(TensorSpec("t", "float32", (5000, 128), fill))
    for position, column in ((0, 0), (1, 0), (4999, 3), (77, 127)):
        angle = position * 10_000.0 ** (-2 * column / 256)
        expected = math.cos(angle) if part == "cos" else math.sin(angle)
        assert table[position, column] == pytest.approx(expected, abs=1e-6)
