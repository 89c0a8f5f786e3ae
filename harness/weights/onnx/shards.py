"""Where each tensor lies in the external data files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.weights.tensors import TensorSpec

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
