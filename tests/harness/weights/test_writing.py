"""Planned files as they come to lie on the disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.plan import PlannedFile, Section
from harness.weights.tensors import Bits, TensorSpec
from harness.weights.tile import TileSource
from harness.weights.writing import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.weights.plan import ByteStream, Piece


@dataclass(frozen=True)
class Counting:
    """A stream whose bytes tell the seed and their place."""

    size: int

    @property
    def bytes(self) -> int:
        return self.size

    def pieces(self, seed: int) -> Iterator[Piece]:
        content = bytearray((seed + place) % 256 for place in range(self.size))
        yield memoryview(content)[: self.size // 2]
        yield memoryview(content)[self.size // 2 :]


contents = st.one_of(
    st.binary(max_size=300),
    st.integers(1, 100_000).map(lambda size: TensorSpec(f"t{size}", "uint8", (size,), Bits())),
    st.integers(0, 500).map(Counting),
)


@settings(max_examples=50, deadline=None)
@given(
    placed=st.lists(st.tuples(st.integers(0, 200_000), contents), max_size=6),
    tail=st.integers(0, 70_000),
)
def test_files_are_what_was_planned(
    tmp_path_factory: pytest.TempPathFactory,
    placed: list[tuple[int, bytes | TensorSpec | ByteStream]],
    tail: int,
) -> None:
    sections: list[Section] = []
    for gap, content in placed:
        sections.append(Section((sections[-1].end if sections else 0) + gap, content))
    size = (sections[-1].end if sections else 0) + tail
    tiles = TileSource(3)
    expected = bytearray(size)
    for section in sections:
        content = section.content
        if isinstance(content, bytes):
            made = content
        elif isinstance(content, TensorSpec):
            made = b"".join(map(bytes, tiles.pieces(content)))
        else:
            made = b"".join(map(bytes, content.pieces(3)))
        expected[section.offset : section.end] = made
    path = tmp_path_factory.mktemp("written") / "file"
    counts: list[int] = []
    write_file(path, PlannedFile("file", tuple(sections), size), tiles, counts.append)
    assert path.read_bytes() == expected
    assert sum(counts) == size


def test_sections_may_not_overlap() -> None:
    with pytest.raises(ValueError, match="sections overlap at 3"):
        PlannedFile("f", (Section(0, b"1234"), Section(3, b"5")), 9)
    with pytest.raises(ValueError, match="end at 4, the file at 3"):
        PlannedFile("f", (Section(0, b"1234"),), 3)
