"""Random blocks: legal, of the deviation that is asked for, and never twice the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import GGMLQuantizationType, dequantize
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.gguf.blocks import PIECE_BYTES, RandomBlocks
from harness.weights.gguf.types import F16, F32, Q4_0, Q4_K, Q6_K, Q8_0

if TYPE_CHECKING:
    from harness.weights.gguf.types import TensorType

QUANTISED = (Q8_0, Q4_0, Q4_K, Q6_K)
SOME = 3 * PIECE_BYTES  # several pieces, and a part of one


def blocks(kind: TensorType, size: int = SOME, **changes: Any) -> RandomBlocks:
    whole = size // kind.bytes * kind.bytes
    return RandomBlocks(**{
        "name": "x", "kind": kind.name, "bytes": whole, "deviation": 0.02, **changes
    })  # fmt: skip


def content(stream: RandomBlocks, seed: int = 1) -> bytes:
    return b"".join(bytes(piece) for piece in stream.pieces(seed))


def values(stream: RandomBlocks, kind: TensorType) -> np.ndarray[Any, Any]:
    raw = np.frombuffer(content(stream), np.uint8).reshape(1, -1)
    return dequantize(raw, GGMLQuantizationType(kind.code)).reshape(-1)


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
@pytest.mark.parametrize("deviation", [0.0078, 0.02, 0.06])
def test_values_are_spread_as_asked(kind: TensorType, deviation: float) -> None:
    found = values(blocks(kind, deviation=deviation), kind)
    assert np.isfinite(found).all()
    assert found.std() == pytest.approx(deviation, rel=0.02)
    assert abs(found.mean()) < 0.01 * deviation
    assert np.abs(found).max() < 4 * deviation


@pytest.mark.parametrize("kind", QUANTISED, ids=lambda kind: kind.name)
def test_rows_are_not_repeated(kind: TensorType) -> None:
    raw = np.frombuffer(content(blocks(kind)), np.uint8).reshape(-1, kind.bytes)
    assert len(np.unique(raw, axis=0)) > 0.99 * len(raw)


@pytest.mark.parametrize("kind", [*QUANTISED, F16, F32], ids=lambda kind: kind.name)
def test_name_and_seed_decide(kind: TensorType) -> None:
    share = 0.5 if kind in (F16, F32) else 0.0
    one = blocks(kind, zero_share=share)
    assert content(one) == content(blocks(kind, zero_share=share))
    assert content(one) != content(one, seed=2)
    assert content(one) != content(blocks(kind, name="y", zero_share=share))


@pytest.mark.parametrize("kind", [Q8_0, F16, F32], ids=lambda kind: kind.name)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.97])
def test_zeros_are_as_many_as_asked(kind: TensorType, share: float) -> None:
    found = values(blocks(kind, zero_share=share), kind)
    assert np.mean(found == 0) == pytest.approx(share, abs=0.003)
    assert found[found != 0].std() == pytest.approx(0.02, rel=0.03)


@settings(deadline=None)  # the first one draws a tile
@given(st.integers(0, 20_000), st.sampled_from(QUANTISED))
def test_there_are_as_many_bytes_as_said(count: int, kind: TensorType) -> None:
    stream = blocks(kind, size=count * kind.bytes)
    pieces = [len(piece) for piece in stream.pieces(7)]
    assert sum(pieces) == stream.bytes == count * kind.bytes
    assert max(pieces, default=0) <= PIECE_BYTES
