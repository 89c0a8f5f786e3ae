"""The layout of external data files."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.weights.onnx.shards import ALIGNMENT, Plan, plan
from harness.weights.tensors import Bits, TensorSpec

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


def test_nothing_to_write() -> None:
    assert plan([], 1) == Plan((), ())
