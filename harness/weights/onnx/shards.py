"""Where each tensor lies in the external data files, and the writing of those files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from harness.weights.tensors import TensorSpec
    from harness.weights.tile import TileSource

# A native runtime maps tensors into memory, which needs them on page boundaries.
ALIGNMENT = 4096


@dataclass(frozen=True, slots=True)
class Placement:
    """The bytes of one stored tensor: file number, offset in that file, length."""

    tensor: TensorSpec
    shard: int
    offset: int

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.tensor.bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """All placements, in the order in which they are written, and the size of each file."""

    placements: tuple[Placement, ...]
    shard_sizes: tuple[int, ...]

    @property
    def total_bytes(self) -> int:
        """Size of all data files, the padding between tensors included."""
        return sum(self.shard_sizes)

    def by_storage(self) -> dict[str, Placement]:
        """The placement of each storage name."""
        return {placement.tensor.storage: placement for placement in self.placements}


def plan(tensors: Iterable[TensorSpec], shard_bytes: int) -> Plan:
    """Lay tensors out one after the other, each aligned, in files of at most `shard_bytes`.

    A tensor is never divided (ONNX external data is one range of one file): a tensor larger than
    `shard_bytes` has a file to itself. Tensors that share their bytes are laid out once.
    """
    placements: list[Placement] = []
    sizes: list[int] = []
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.storage in seen:
            continue
        seen.add(tensor.storage)
        offset = -(-sizes[-1] // ALIGNMENT) * ALIGNMENT if sizes else 0
        if not sizes or (sizes[-1] and offset + tensor.bytes > shard_bytes):
            sizes.append(0)
            offset = 0
        placements.append(Placement(tensor, len(sizes) - 1, offset))
        sizes[-1] = offset + tensor.bytes
    return Plan(tuple(placements), tuple(sizes))


def write_shards(
    layout: Plan, paths: Sequence[Path], source: TileSource, wrote: Callable[[int], None]
) -> None:
    """Write each file of `layout` to its path, and fsync it.

    `wrote` is called with the number of bytes since its last call.

    Raises:
        OSError: a file could not be written, for instance because the disk is full.
    """
    for shard, path in enumerate(paths):
        with path.open("xb", buffering=0) as file:
            position = 0
            for placement in layout.placements:
                if placement.shard != shard:
                    continue
                padding = placement.offset - position
                write_all(file.fileno(), memoryview(bytes(padding)))
                wrote(padding)
                for piece in source.pieces(placement.tensor):
                    write_all(file.fileno(), piece)
                    wrote(len(piece))
                position = placement.end
            os.fsync(file.fileno())


def write_file(path: Path, content: bytes) -> None:
    """Write a small file, and fsync it."""
    with path.open("xb", buffering=0) as file:
        write_all(file.fileno(), memoryview(content))
        os.fsync(file.fileno())


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of `content`: one call may take only a part of it."""
    while content:
        content = content[os.write(descriptor, content) :]


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
