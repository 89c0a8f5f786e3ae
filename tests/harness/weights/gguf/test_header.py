"""The head of a GGUF file, as llama.cpp's own Python package reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.weights.gguf.header import (
    ALIGNMENT,
    TensorInfo,
    aligned,
    boolean,
    float32,
    float32s,
    int32,
    int32s,
    serialise,
    string,
    strings,
    uint16,
    uint32,
)
from harness.weights.gguf.types import F32, Q8_0

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_kind_of_value_is_read_back(tmp_path: Path) -> None:
    metadata = {
        "general.architecture": string("none"),
        "a.u16": uint16(65_535),
        "a.u32": uint32(2**32 - 1),
        "a.i32": int32(-7),
        "a.f32": float32(0.5),
        "a.yes": boolean(value=True),
        "a.no": boolean(value=False),
        "a.text": string("\u2581b"),
        "a.texts": strings(["", "\u2581", "<0x00>"]),
        "a.floats": float32s([-1.0, 0.25]),
        "a.ints": int32s([3, -3]),
    }
    tensors = [TensorInfo("one", (32, 2), Q8_0, 0), TensorInfo("two", (3,), F32, 96)]
    head = serialise(metadata, tensors)
    assert len(head) % ALIGNMENT == 0
    path = tmp_path / "x.gguf"
    path.write_bytes(head + bytes(aligned(96 + 12)))
    reader = GGUFReader(path)
    found = {name: field.contents() for name, field in reader.fields.items()}
    assert found["a.u16"] == 65_535
    assert found["a.u32"] == 2**32 - 1
    assert found["a.i32"] == -7
    assert found["a.f32"] == 0.5
    assert (found["a.yes"], found["a.no"]) == (True, False)
    assert found["a.text"] == "\u2581b"
    assert found["a.texts"] == ["", "\u2581", "<0x00>"]
    assert found["a.floats"] == [-1.0, 0.25]
    assert found["a.ints"] == [3, -3]
    assert [(t.name, list(t.shape), int(t.n_bytes)) for t in reader.tensors] == [
        ("one", [32, 2], 68),
        ("two", [3], 12),
    ]
    assert [int(t.data_offset) for t in reader.tensors] == [len(head), len(head) + 96]


@settings(deadline=None)  # it writes files
@given(st.text(max_size=40), st.lists(st.text(max_size=8), max_size=5))
def test_any_text_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, one: str, many: list[str]
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    metadata = {
        "general.architecture": string("none"),
        "one": string(one),
        "many": strings([*many, "end"]),
    }
    path.write_bytes(serialise(metadata, []) + bytes(ALIGNMENT))
    fields = GGUFReader(path).fields
    assert fields["one"].contents() == one
    assert fields["many"].contents() == [*many, "end"]


@given(st.integers(0, 10**12))
def test_alignment(size: int) -> None:
    assert aligned(size) % ALIGNMENT == 0
    assert size <= aligned(size) < size + ALIGNMENT
