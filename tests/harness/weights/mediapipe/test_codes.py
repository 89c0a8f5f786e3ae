"""Matrices made of a tile's rows: their sums are those of their bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.mediapipe.codes import RUN_BYTES, Codes, SignedFactors, Sums
from tests.harness.weights.mediapipe.reading import unpacked


def content(stream: Codes | Sums | SignedFactors, seed: int = 1) -> bytes:
    return b"".join(bytes(piece) for piece in stream.pieces(seed))


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 5000),
    columns=st.sampled_from([64, 256]),
    bits=st.sampled_from([2, 4, 8]),
    seed=st.integers(0, 2),
)
def test_sums_are_those_of_the_codes(rows: int, columns: int, bits: int, seed: int) -> None:
    codes = Codes(f"m{rows}", rows, columns, bits)
    stored = content(codes, seed)
    assert len(stored) == codes.bytes == rows * columns * bits // 8
    sums = np.frombuffer(content(Sums(codes), seed), np.int32)
    assert Sums(codes).bytes == 4 * rows
    np.testing.assert_array_equal(sums, unpacked(stored, bits).reshape(rows, columns).sum(axis=1))


def test_runs_come_as_they_are_and_inverted() -> None:
    codes = Codes("m", 40 * (RUN_BYTES // 256), 256, 8)
    flags = {run.inverted for run in codes.runs(1)}
    assert flags == {False, True}


def test_codes_are_evenly_spread() -> None:
    values = np.frombuffer(content(Codes("m", 20_000, 256, 8)), np.int8)
    counts = np.bincount(values.astype(int) + 128, minlength=256)
    assert counts.min() > 0.9 * counts.mean()
    assert counts.max() < 1.1 * counts.mean()


def test_bytes_follow_from_seed_and_name() -> None:
    matrix, other = Codes("a", 3000, 256, 4), Codes("b", 3000, 256, 4)
    assert content(matrix, 1) == content(matrix, 1)
    assert content(matrix, 1) != content(matrix, 2)
    assert content(matrix, 1) != content(other, 1)


def test_rows_end_with_a_byte() -> None:
    with pytest.raises(ValueError, match="do not end with a byte"):
        Codes("m", 4, 3, 4)


def test_final_factors_have_both_signs_and_the_stated_magnitude() -> None:
    stored = content(SignedFactors("f", 4000, 1.5, 2.5))
    factors = np.frombuffer(stored, np.float32) + 1
    assert (abs(factors) >= 1.5).all()
    assert (abs(factors) <= 2.5).all()
    assert 0.4 < (factors > 0).mean() < 0.6
