"""The layout of external data files."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.shards import ALIGNMENT, Plan, plan, write_shards
from harness.weights.tensors import Bits, TensorSpec
from harness.weights.tile import TileSource

if TYPE_CHECKING:
    import pytest

tensors = st.lists(
    st.tuples(st.integers(1, 50_000), st.sampled_from([None, "a", "b"])), max_size=30
).map(
    lambda drawn: [
        # What shares its bytes has one size.
        TensorSpec(f"t{n}", "uint8", (size if shared is None else 999,), Bits(), shared)
        for n, (size, shared) in enumerate(drawn)
    ]
)


@given(tensors, st.integers(1, 100_000))
def test_every_tensor_has_its_own_aligned_place(specs: list[TensorSpec], limit: int) -> None:
    layout = plan(specs, limit)
    places = layout.by_storage()
    assert set(places) == {spec.storage for spec in specs}
    assert len(layout.placements) == len(places)
    for number, size in enumerate(layout.shard_sizes):
        inside = [place for place in layout.placements if place.shard == number]
        assert size <= limit or len(inside) == 1
        assert size == inside[-1].end
        assert inside[0].offset == 0
        for before, after in pairwise(inside):
            assert after.offset % ALIGNMENT == 0
            assert before.end <= after.offset < before.end + ALIGNMENT


@given(tensors, st.integers(1, 100_000))
def test_sizes_sum_up(specs: list[TensorSpec], limit: int) -> None:
    layout = plan(specs, limit)
    stored = sum(place.tensor.bytes for place in layout.placements)
    assert stored <= layout.total_bytes < stored + ALIGNMENT * (len(layout.placements) + 1)
    assert layout.total_bytes == sum(layout.shard_sizes)


@settings(max_examples=10, deadline=None)
@given(specs=tensors, limit=st.integers(1, 100_000))
def test_files_are_what_was_planned(
    tmp_path_factory: pytest.TempPathFactory, specs: list[TensorSpec], limit: int
) -> None:
    layout = plan(specs, limit)
    directory = tmp_path_factory.mktemp("shards")
    paths = [directory / str(number) for number in range(len(layout.shard_sizes))]
    counts: list[int] = []
    source = TileSource(3)
    write_shards(layout, paths, source, counts.append)
    assert [path.stat().st_size for path in paths] == list(layout.shard_sizes)
    assert sum(counts) == layout.total_bytes
    for place in layout.placements:
        content = paths[place.shard].read_bytes()[place.offset : place.end]
        assert content == b"".join(map(bytes, source.pieces(place.tensor)))


def test_nothing_to_write() -> None:
    assert plan([], 1) == Plan((), ())
