"""A fast, seeded source of tensor bytes.

Drawing every byte from a generator is slower than a disk. Here a tile of a few MiB is drawn once,
and each piece of a tensor is the tile from a random offset on, XOR a random mask. For integers the
mask covers all bits, for floats the sign and the low bits of the mantissa, so that values stay
within 1/64 of what was drawn. Pruned weights are the tile as it is, since a mask would undo their
zeros. Only raw generator output is used: unlike the distributions of numpy it is the same in every
version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from harness.weights.tensors import (
    ELEMENT_BYTES,
    Bits,
    Element,
    Fill,
    Pruned,
    Rotary,
    TensorSpec,
    Uniform,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

PIECE_BYTES = 256 << 10  # stays in a second-level cache between the XOR and the write
TILE_BYTES = 8 << 20
_LINE_BYTES = 64

# Bits an XOR may change without changing a value by more than 1/64 of itself (IEEE 754 layouts).
_LOW_BITS: dict[Element, int] = {
    "uint8": 0xFFFF_FFFF_FFFF_FFFF,
    "float16": 0x000F_000F_000F_000F,
    "float32": 0x0001_FFFF_0001_FFFF,
}
_SIGN_BITS: dict[Element, int] = {
    "uint8": 0,
    "float16": 0x8000_8000_8000_8000,
    "float32": 0x8000_0000_8000_0000,
}


class TileSource:
    """Makes the bytes of tensors. The same seed and tensor name give the same bytes, always.

    It holds one tile for each kind of filling: about ten in a model, 8 MiB each at most.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._tiles: dict[tuple[Fill, Element], npt.NDArray[np.uint64]] = {}
        self._buffer = np.empty(PIECE_BYTES // 8, np.uint64)

    def pieces(self, tensor: TensorSpec) -> Iterator[memoryview]:
        """The bytes of `tensor` in pieces; each is valid only until the next one is taken."""
        if isinstance(tensor.fill, Rotary):
            yield from _rotary(tensor, tensor.fill)
        elif tensor.bytes <= PIECE_BYTES:
            words = -(-tensor.bytes // 8)
            drawn = _draw(self._generator(tensor.storage), words, tensor.fill, tensor.element)
            yield drawn.data.cast("B")[: tensor.bytes]
        else:
            yield from self._tiled(tensor)

    def _tiled(self, tensor: TensorSpec) -> Iterator[memoryview]:
        tile = self._tile(tensor.fill, tensor.element)
        changeable = _LOW_BITS[tensor.element]
        if isinstance(tensor.fill, Uniform) and tensor.fill.signed:
            changeable |= _SIGN_BITS[tensor.element]
        count = -(-tensor.bytes // PIECE_BYTES)
        draws = self._generator(tensor.storage).random_raw(2 * count).reshape(count, 2)
        lines = (TILE_BYTES - PIECE_BYTES) // _LINE_BYTES + 1
        offsets = draws[:, 0] % np.uint64(lines) * np.uint64(_LINE_BYTES // 8)
        masks = draws[:, 1] & np.uint64(changeable)
        view = self._buffer.data.cast("B")
        words = len(self._buffer)
        left = tensor.bytes
        for offset, mask in zip(offsets.tolist(), masks, strict=True):
            content = tile[offset : offset + words]
            if isinstance(tensor.fill, Pruned):
                yield content.data.cast("B")[: min(left, PIECE_BYTES)]
            else:
                np.bitwise_xor(content, mask, out=self._buffer)
                yield view[: min(left, PIECE_BYTES)]
            left -= PIECE_BYTES

    def _tile(self, fill: Fill, element: Element) -> npt.NDArray[np.uint64]:
        key = (fill, element)
        if key not in self._tiles:
            generator = self._generator(f"tile {fill!r} {element}")
            self._tiles[key] = np.concatenate(
                [
                    _draw(generator, PIECE_BYTES // 8, fill, element)
                    for _ in range(TILE_BYTES // PIECE_BYTES)
                ]
            )
        return self._tiles[key]

    def _generator(self, name: str) -> np.random.SFC64:
        digest = hashlib.sha256(f"{self.seed}\0{name}".encode()).digest()
        return np.random.SFC64(np.random.SeedSequence(int.from_bytes(digest)))


def _draw(
    generator: np.random.SFC64, words: int, fill: Fill, element: Element
) -> npt.NDArray[np.uint64]:
    """`words` times 8 bytes of freshly drawn values."""
    if isinstance(fill, Pruned):
        return _prune(generator, _draw(generator, words, fill.of, element), fill, element)
    if isinstance(fill, Bits):
        return generator.random_raw(words)
    if not isinstance(fill, Uniform):
        raise TypeError(fill)
    count = words * 8 // ELEMENT_BYTES[element]
    raw = generator.random_raw(-(-count // 2)).view(np.uint32)[:count]
    # 24 bits decide on the magnitude, which is what a float32 can hold; the lowest on the sign.
    fraction = (raw >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
    values = fraction * np.float32(fill.high - fill.low) + np.float32(fill.low)
    if fill.signed:
        values *= 1 - 2 * (raw & np.uint32(1)).astype(np.float32)
    return values.astype(np.dtype(element)).view(np.uint64)


def _prune(
    generator: np.random.SFC64, drawn: npt.NDArray[np.uint64], fill: Pruned, element: Element
) -> npt.NDArray[np.uint64]:
    """`drawn`, in place, with as many zeros as `fill` asks for."""
    if element != "uint8":
        values = drawn.view(np.dtype(element))
        values[_chosen(generator, values.size, fill.zero_share)] = 0
        return drawn
    # One code in 16 or 256 stands for zero by itself.
    chance = 2.0**-fill.bits
    share = max(0.0, (fill.zero_share - chance) / (1 - chance))
    codes = drawn.view(np.uint8)
    if fill.bits == 8:  # noqa: PLR2004
        codes[_chosen(generator, codes.size, share)] = 0x80
        return drawn
    low, high = _chosen(generator, 2 * codes.size, share).reshape(2, -1)
    codes[low] = codes[low] & 0xF0 | 0x08
    codes[high] = codes[high] & 0x0F | 0x80
    return drawn


def _chosen(generator: np.random.SFC64, count: int, share: float) -> npt.NDArray[np.bool_]:
    """True at about `share` of `count` places, in steps of 1/65536."""
    raw = generator.random_raw(-(-count // 4)).view(np.uint16)[:count]
    return raw < round(share * 65_536)


def _rotary(tensor: TensorSpec, fill: Rotary) -> Iterator[memoryview]:
    positions, half = tensor.shape
    function = np.cos if fill.part == "cos" else np.sin
    frequencies = fill.base ** (-np.arange(half, dtype=np.float64) / half)
    rows = max(1, PIECE_BYTES // (8 * half))
    for start in range(0, positions, rows):
        angles = np.outer(np.arange(start, min(start + rows, positions)), frequencies)
        yield function(angles).astype(np.dtype(tensor.element)).data.cast("B")
