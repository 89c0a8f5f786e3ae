"""Models made of holes: valid, of the size they claim, and with all of their weights in use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest

from suites.oversized import DATA, GRAPH, ROW_BYTES, WEIGHT_BYTES, Oversized

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30


def run(directory: Path, expand: int, row: int = 0) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(
        str(directory / GRAPH), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    inputs = {"row": np.array([row], np.int64), "shape": np.array([expand], np.int64)}
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("row", [0, 255])
def test_every_weight_is_read(tmp_path: Path, row: int) -> None:
    Oversized(inline_bytes=1 << 20, external_bytes=1 << 20).write(tmp_path)
    with (tmp_path / DATA).open("r+b") as file:
        file.seek(row * ROW_BYTES)
        file.write(np.arange(ROW_BYTES // 4, dtype="<f4").tobytes())
    results = run(tmp_path, expand=3, row=row)
    assert set(results) == {"largest", "w0_row", "inline0_row"}
    assert results["largest"] == 1
    np.testing.assert_array_equal(results["w0_row"][0], np.arange(ROW_BYTES // 4))
    np.testing.assert_array_equal(results["inline0_row"], 0)


def test_shared_weights_have_the_same_bytes(tmp_path: Path) -> None:
    Oversized(external_bytes=1 << 20, shared=3).write(tmp_path)
    (tmp_path / DATA).write_bytes(np.ones(1 << 18, "<f4").tobytes())
    rows = run(tmp_path, expand=1)
    assert [rows[f"w{number}_row"].sum() for number in range(3)] == [ROW_BYTES // 4] * 3


def test_an_offset_beyond_the_file_is_no_model(tmp_path: Path) -> None:
    Oversized(external_bytes=1 << 20, offset=4 * GIB).write(tmp_path)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.Fail, match="out of bounds"):
        run(tmp_path, expand=1)


@pytest.mark.parametrize("size", [3 * WEIGHT_BYTES + ROW_BYTES, 4 * GIB])
def test_files_are_as_large_as_told_and_take_no_disk(tmp_path: Path, size: int) -> None:
    Oversized(inline_bytes=size, external_bytes=size).write(tmp_path)
    graph, data = tmp_path / GRAPH, tmp_path / DATA
    assert size <= graph.stat().st_size < size + 8192
    assert data.stat().st_size == size
    assert graph.stat().st_blocks * 512 + data.stat().st_blocks * 512 < 1 << 20
    with graph.open("rb") as file:
        head = file.read(4096)
    assert b"inline0" in head
    assert DATA.encode() in head


def test_several_weights_inside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suites.oversized.WEIGHT_BYTES", 2 * ROW_BYTES)
    Oversized(inline_bytes=5 * ROW_BYTES, external_bytes=3 * ROW_BYTES).write(tmp_path)
    onnx.checker.check_model(str(tmp_path / GRAPH))
    weights = onnx.load(tmp_path / GRAPH).graph.initializer
    rows = {weight.name: weight.dims[0] for weight in weights if weight.name != "one"}
    assert rows == {"w0": 2, "w1": 1, "inline0": 2, "inline1": 2, "inline2": 1}
    assert len(run(tmp_path, expand=1)) == 6


@pytest.mark.full
def test_native_onnxruntime_refuses_a_model_of_two_gib_as_malformed(tmp_path: Path) -> None:
    """2.2 GB of memory: the words for what the browser's build calls too large."""
    Oversized(inline_bytes=2 * GIB).write(tmp_path)
    with pytest.raises(
        onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
        match=r"INVALID_PROTOBUF : Load model from .* failed:Protobuf parsing failed\.",
    ):
        run(tmp_path, expand=1)
    (tmp_path / GRAPH).unlink()
