"""Content of the container: above all quantised matrices with the exact sums of their rows.

The container stores, beside the codes of a matrix, the sum of each row's codes. Summing gigabytes
would take longer than writing them. Here a tile of random rows is drawn once for each width, its
rows are summed once, and a matrix is runs of the tile's rows from random places on, every other
run with all bits inverted: `~x` is `-x - 1` in two's complement, so the sum of an inverted row is
`-sum - columns`. The sums of a matrix are therefore slices of sums that are already there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

TILE_BYTES = 4 << 20
RUN_BYTES = 256 << 10
# Of different widths of rows; a model of the catalogue has at most nine. Each takes twice its size.
_TILES_KEPT = 10


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes of a matrix `[rows, columns]`: integers of `bits` bits in two's complement.

    Codes of less than a byte are packed, the lower columns in the lower bits. The name decides on
    the bytes, together with the seed.
    """

    name: str
    rows: int
    columns: int
    bits: int

    def __post_init__(self) -> None:
        if self.columns * self.bits % 8:
            raise ValueError(f"{self.name}: rows of {self.columns} codes do not end with a byte")

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.columns * self.bits // 8

    @property
    def bytes(self) -> int:
        """Bytes of the matrix."""
        return self.rows * self.row_bytes

    def pieces(self, seed: int) -> Iterator[memoryview]:
        """See `ByteStream.pieces`. All are views of the tile: nothing is copied."""
        tile = _tile(seed, self.columns, self.bits)
        for run in self.runs(seed):
            content = tile.inverted if run.inverted else tile.codes
            yield content[run.start : run.start + run.count].data.cast("B")

    def sums(self, seed: int) -> Iterator[npt.NDArray[np.int32]]:
        """The sum of each row, run by run."""
        tile = _tile(seed, self.columns, self.bits)
        for run in self.runs(seed):
            content = tile.inverted_sums if run.inverted else tile.sums
            yield content[run.start : run.start + run.count]

    def runs(self, seed: int) -> Iterator[Run]:
        """Which rows of the tile the matrix is made of."""
        size = max(1, RUN_BYTES // self.row_bytes)
        count = -(-self.rows // size)
        draws = _generator(seed, self.name).random_raw(count)
        starts = (draws >> np.uint64(1)) % np.uint64(_tile_rows(self.row_bytes) - size + 1)
        inverted = draws & np.uint64(1)
        left = self.rows
        for start, flag in zip(starts.tolist(), inverted.tolist(), strict=True):
            yield Run(start, min(left, size), bool(flag))
            left -= size


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of a matrix's rows: int32 `[rows]`."""

    codes: Codes

    @property
    def bytes(self) -> int:
        """See `ByteStream.bytes`."""
        return 4 * self.codes.rows

    def pieces(self, seed: int) -> Iterator[memoryview]:
        """See `ByteStream.pieces`."""
        for sums in self.codes.sums(seed):
            yield sums.data.cast("B")


@dataclass(frozen=True, slots=True)
class SignedFactors:
    """Factors of a norm, float32 `[size]`: magnitudes even in `[low, high)` with random signs.

    Stored is the factor less one, as the engine adds one.
    """

    name: str
    size: int
    low: float
    high: float

    @property
    def bytes(self) -> int:
        """See `ByteStream.bytes`."""
        return 4 * self.size

    def pieces(self, seed: int) -> Iterator[memoryview]:
        """See `ByteStream.pieces`."""
        raw = _generator(seed, self.name).random_raw(self.size)
        magnitude = self.low + (self.high - self.low) * (raw >> np.uint64(40)) * 2.0**-24
        sign = np.where(raw & np.uint64(1), 1.0, -1.0)
        yield (sign * magnitude - 1).astype("<f4").data.cast("B")


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of the tile, as they are or with all bits inverted."""

    start: int
    count: int
    inverted: bool


@dataclass(frozen=True, slots=True)
class _Tile:
    """Random rows `[n, row bytes]`, the same inverted, and the sums of both `[n]`."""

    codes: npt.NDArray[np.uint8]
    inverted: npt.NDArray[np.uint8]
    sums: npt.NDArray[np.int32]
    inverted_sums: npt.NDArray[np.int32]


def _tile_rows(row_bytes: int) -> int:
    return max(1, TILE_BYTES // row_bytes)


@lru_cache(maxsize=_TILES_KEPT)
def _tile(seed: int, columns: int, bits: int) -> _Tile:
    row_bytes = columns * bits // 8
    rows = _tile_rows(row_bytes)
    words = -(-rows * row_bytes // 8)
    raw = _generator(seed, f"tile {columns} {bits}").random_raw(words)
    codes = raw.view(np.uint8)[: rows * row_bytes].reshape(rows, row_bytes)
    table = _byte_sums(bits)
    sums = np.empty(rows, np.int32)
    step = max(1, RUN_BYTES // row_bytes)
    for row in range(0, rows, step):
        sums[row : row + step] = table[codes[row : row + step]].sum(axis=1, dtype=np.int32)
    return _Tile(codes, ~codes, sums, -sums - np.int32(columns))


def _byte_sums(bits: int) -> npt.NDArray[np.int16]:
    """For each byte, the sum of the signed codes in it."""
    fields = np.arange(256)[:, None] >> np.arange(0, 8, bits) & (1 << bits) - 1
    signed = np.where(fields >> bits - 1, fields - (1 << bits), fields)
    sums: npt.NDArray[np.int16] = signed.sum(axis=1).astype(np.int16)
    return sums


def _generator(seed: int, name: str) -> np.random.SFC64:
    """Raw output only: unlike the distributions of numpy it is the same in every version."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest)))
