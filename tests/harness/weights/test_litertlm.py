"""The frame of a `.litertlm` file, as the builder's own reader finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from litert_lm_builder import litertlm_core, litertlm_peek

from harness.weights.litertlm import DataType, SectionSpec, frame

if TYPE_CHECKING:
    import pytest

names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
sections = st.builds(
    SectionSpec,
    data_type=st.sampled_from(DataType),
    bytes=st.integers(1, 1 << 40),
    items=st.lists(st.tuples(names, names), max_size=2).map(tuple),
)


class _Quiet:
    """What the tool prints goes nowhere."""

    def write(self, text: str) -> int:
        return len(text)


@settings(max_examples=40, deadline=None)
@given(made=st.lists(sections, min_size=1, max_size=5), about=st.lists(st.tuples(names, names)))
def test_sections_are_found_again(
    tmp_path_factory: pytest.TempPathFactory,
    made: list[SectionSpec],
    about: list[tuple[str, str]],
) -> None:
    laid = frame(made, about)
    path = tmp_path_factory.mktemp("frame") / "head.litertlm"
    path.write_bytes(laid.head)
    header = litertlm_peek.read_litertlm_header(str(path), _Quiet())
    assert header.SystemMetadata().EntriesLength() == len(about)
    listed = header.SectionMetadata()
    assert listed.ObjectsLength() == len(made)
    end = len(laid.head)
    for number, (section, offset) in enumerate(zip(made, laid.offsets, strict=True)):
        found = listed.Objects(number)
        assert found.DataType() == section.data_type
        assert found.BeginOffset() == offset
        assert found.EndOffset() == offset + section.bytes
        items = [found.Items(item) for item in range(found.ItemsLength())]
        assert (
            tuple((item.Key().decode(), litertlm_peek.kvp_to_dict(item)["value"]) for item in items)
            == section.items
        )
        assert end <= offset < end + litertlm_core.BLOCK_SIZE
        assert offset % litertlm_core.BLOCK_SIZE == 0
        end = offset + section.bytes
    assert laid.bytes == end
