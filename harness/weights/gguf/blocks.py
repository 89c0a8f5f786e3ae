"""Random weights in llama.cpp's blocks, as fast as a disk.

As in `harness.weights.tile`, a tile is drawn once, and each piece of a tensor is the tile from a
random place on, XOR a random mask. Here both keep what a block needs to be a block: the mask leaves
the size of its scales alone and may flip their signs. Values are symmetric about zero and have the
standard deviation that is asked for, whatever the type:

    Q8_0   d, 32 codes                       d * code                         -128 to 127
    Q4_0   d, 32 codes of 4 bits             d * (code - 8)
    Q4_K   d, dmin, 8 x (scale, minimum) of 6 bits, 256 codes of 4 bits
                                             d * scale * code - dmin * minimum
    Q6_K   256 codes of 4 + 2 bits, 16 scales of 8 bits, d
                                             d * scale * (code - 32)

(ggml-org/llama.cpp:ggml/src/ggml-common.h and `dequantize_row_*` in ggml/src/ggml-quants.c.) In
Q4_K each minimum equals its scale and dmin is 7.5 d, so that codes lie evenly about zero.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from harness.weights.gguf.types import TypeName

    Bytes = npt.NDArray[np.uint8]

PIECE_BYTES: Final = 256 << 10  # stays in a second-level cache between the XOR and the write
TILE_BYTES: Final = 8 << 20
_ROW_BYTES: Final = 4 << 10  # what one mask covers, about
_WORD: Final = 8
# The scales of blocks spread this far about their mean, evenly.
_SPREAD: Final = 0.2
_SPREAD_VARIANCE: Final = 1 + _SPREAD**2 / 3


def _even(count: int) -> float:
    """Variance of numbers evenly spread over `count` neighbouring integers."""
    return (count**2 - 1) / 12


def _free_simple(raw: Bytes) -> Bytes:
    """Q8_0 and Q4_0: all codes, and the sign of d."""
    raw[:, 0] = 0
    raw[:, 1] &= 0x80
    return raw


def _base_simple(blocks: Bytes, d: npt.NDArray[np.float16]) -> None:
    blocks[:, :2] = d.view(np.uint8).reshape(-1, 2)


def _free_q4_k(raw: Bytes) -> Bytes:
    """All codes; the signs of d and dmin together; scales, with each minimum equal to its scale.

    The highest bit of each scale is left alone: none is below half of the largest.
    """
    raw[:, [0, 2]] = 0
    raw[:, 1] &= 0x80
    raw[:, 3] = raw[:, 1]
    # Scales 0 to 3, with the two high bits of 4 to 7 above; then their minima; then the low bits of
    # 4 to 7, scale and minimum side by side.
    raw[:, 4:8] &= 0x5F
    raw[:, 8:12] = raw[:, 4:8]
    raw[:, 12:16] = (raw[:, 12:16] & 0x0F) * 0x11
    return raw


def _base_q4_k(blocks: Bytes, d: npt.NDArray[np.float16]) -> None:
    blocks[:, :2] = d.view(np.uint8).reshape(-1, 2)
    dmin = (d.astype(np.float32) * np.float32(7.5)).astype(np.float16)
    blocks[:, 2:4] = dmin.view(np.uint8).reshape(-1, 2)
    blocks[:, 4:12] = 0xA0


def _free_q6_k(raw: Bytes) -> Bytes:
    """All codes, the sign of d, and scales of 64 to 128 in size, with either sign."""
    scales = raw[:, 192:208]
    raw[:, 192:208] = (scales & 0x3F) | (scales >> 6 & 1) * 0xC0
    raw[:, 208] = 0
    raw[:, 209] &= 0x80
    return raw


def _base_q6_k(blocks: Bytes, d: npt.NDArray[np.float16]) -> None:
    blocks[:, 192:208] = 0x40
    blocks[:, 208:210] = d.view(np.uint8).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How blocks of one kind are made.

    Attributes:
        bytes: size of a block.
        variance: of its values, with d = 1.
        free: turns random bytes `[blocks, bytes]` into what may be XORed onto any legal block.
        base: writes scales of size `d` into blocks of zeros; XORed with `free` they are drawn.
    """

    bytes: int
    variance: float
    free: Callable[[Bytes], Bytes]
    base: Callable[[Bytes, npt.NDArray[np.float16]], None]


_BLOCKS: Final[Mapping[str, _Blocks]] = {
    # Codes from -n/2 to n/2 - 1 are half a code off zero, which a random sign of d makes spread.
    "q8_0": _Blocks(34, _even(256) + 0.25, _free_simple, _base_simple),
    "q4_0": _Blocks(18, _even(16) + 0.25, _free_simple, _base_simple),
    # Scales from 32 to 63, codes from -7.5 to 7.5.
    "q4_k": _Blocks(144, (_even(32) + 47.5**2) * _even(16), _free_q4_k, _base_q4_k),
    # Scales from 64 to 127 or from -128 to -65, codes from -32 to 31.
    "q6_k": _Blocks(
        210,
        (_even(64) + (95.5**2 + 96.5**2) / 2) * (_even(64) + 0.25),
        _free_q6_k,
        _base_q6_k,
    ),
}
_FLOATS: Final[Mapping[str, type[np.floating]]] = {"f16": np.float16, "f32": np.float32}


@dataclass(frozen=True, slots=True)
class RandomBlocks:
    """The bytes of one tensor, or of its last rows: a `ByteStream`.

    Attributes:
        name: Unique in its model; with the seed it decides on the bytes.
        kind: The type. Plain floats are here for their zeros only.
        bytes: Whole blocks.
        deviation: Standard deviation of the weights (of those that are not made zero).
        zero_share: Share of weights that are exactly zero (q8_0, f16 and f32).
    """

    name: str
    kind: TypeName
    bytes: int
    deviation: float
    zero_share: float = 0.0

    def pieces(self, seed: int) -> Iterator[memoryview]:
        """See `ByteStream.pieces`."""
        row = _row_bytes(self.kind)
        piece = _piece_bytes(self.kind)
        tile = _tile(seed, self.kind, self.deviation, self.zero_share).reshape(-1, row // _WORD)
        rows = piece // row
        generator = _generator(seed, self.name)
        count = -(-self.bytes // piece)
        places = generator.random_raw(count) % np.uint64(len(tile) - rows + 1)
        left = self.bytes
        buffer = np.empty((rows, row // _WORD), np.uint64)
        for place in places.tolist():
            content = tile[place : place + rows]
            if not self.zero_share:
                np.bitwise_xor(content, self._mask(generator, row), out=buffer)
                content = buffer
            yield content.data.cast("B")[: min(left, piece)]
            left -= piece

    def _mask(self, generator: np.random.SFC64, row: int) -> npt.NDArray[np.uint64]:
        blocks = _BLOCKS[self.kind]
        raw = generator.random_raw(row // _WORD).view(np.uint8).reshape(-1, blocks.bytes)
        return blocks.free(raw).reshape(-1).view(np.uint64)


def _generator(seed: int, name: str) -> np.random.SFC64:
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest)))


def _row_bytes(kind: TypeName) -> int:
    """Bytes of whole blocks and of whole words, near `_ROW_BYTES`."""
    if kind in _FLOATS:
        return _ROW_BYTES
    unit = math.lcm(_BLOCKS[kind].bytes, _WORD)
    return _ROW_BYTES // unit * unit


def _piece_bytes(kind: TypeName) -> int:
    """Bytes of whole rows, near `PIECE_BYTES`."""
    return PIECE_BYTES // _row_bytes(kind) * _row_bytes(kind)


# A model has a handful of different widths; the tiles of one model are 8 MiB each.
@lru_cache(maxsize=6)
def _tile(seed: int, kind: TypeName, deviation: float, zero_share: float) -> npt.NDArray[np.uint64]:
    """Drawn weights, as words."""
    generator = _generator(seed, f"tile {kind} {deviation!r} {zero_share!r}")
    piece = _piece_bytes(kind)
    parts = [
        _draw(generator, kind, piece, deviation, zero_share) for _ in range(TILE_BYTES // piece)
    ]
    tile = np.concatenate(parts)
    tile.flags.writeable = False
    return tile


def _draw(
    generator: np.random.SFC64, kind: TypeName, size: int, deviation: float, zero_share: float
) -> npt.NDArray[np.uint64]:
    if kind in _FLOATS:
        return _draw_floats(generator, kind, size, deviation, zero_share)
    blocks = _BLOCKS[kind]
    count = size // blocks.bytes
    drawn = np.zeros((count, blocks.bytes), np.uint8)
    d = deviation / math.sqrt(blocks.variance * _SPREAD_VARIANCE)
    blocks.base(drawn, (d * (1 + _SPREAD * _symmetric(generator, count))).astype(np.float16))
    drawn ^= blocks.free(generator.random_raw(size // _WORD).view(np.uint8).reshape(drawn.shape))
    if zero_share:
        codes = drawn[:, 2:]
        # One code in 256 is zero by itself.
        share = max(0.0, (zero_share - 1 / 256) / (1 - 1 / 256))
        codes[_chosen(generator, codes.size, share).reshape(codes.shape)] = 0
    return drawn.reshape(-1).view(np.uint64)


def _draw_floats(
    generator: np.random.SFC64, kind: TypeName, size: int, deviation: float, zero_share: float
) -> npt.NDArray[np.uint64]:
    element = _FLOATS[kind]
    count = size // np.dtype(element).itemsize
    # Evenly spread over [-a, a] has a standard deviation of a / sqrt(3).
    values = (np.float32(deviation * math.sqrt(3)) * _symmetric(generator, count)).astype(element)
    values[_chosen(generator, count, zero_share)] = 0
    return values.view(np.uint64)


def _symmetric(generator: np.random.SFC64, count: int) -> npt.NDArray[np.float32]:
    """Numbers evenly spread over [-1, 1], in steps that a float32 holds; none is zero."""
    raw = generator.random_raw(-(-count // 2)).view(np.uint32)[:count]
    odd = (raw >> np.uint32(8)).astype(np.float32) + np.float32(0.5)
    values: npt.NDArray[np.float32] = odd * np.float32(2**-23) - np.float32(1)
    return values


def _chosen(generator: np.random.SFC64, count: int, share: float) -> npt.NDArray[np.bool_]:
    """True at about `share` of `count` places."""
    raw = generator.random_raw(-(-count // 4)).view(np.uint16)[:count]
    return raw < round(share * 65536)
