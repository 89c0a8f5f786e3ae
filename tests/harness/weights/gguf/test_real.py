"""The user's own GGUF files, and what may be in a file of that name instead."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.gguf.real import read_metadata, real_gguf
from harness.weights.gguf.recipe import GgufRecipe
from harness.weights.plan import shape_of
from harness.weights.writing import write

if TYPE_CHECKING:
    from pathlib import Path

    from harness.weights.artifact import Artifact

MODEL = tiny(MODELS["gemma-2-2b-it"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("gguf") / "model"
    return write(GgufRecipe("q8_0", split_bytes=500_000).plan(MODEL), folder)


def test_a_model_of_several_files(made: Artifact) -> None:
    found = real_gguf(made.entry_path)
    assert found.kind == "real"
    assert found.format == "gguf"
    assert found.shape == shape_of(MODEL)
    assert found.files == made.files
    assert len(found.files) > 1
    assert found.sha256 is not None
    assert found.damage() is None


def test_a_further_file_that_is_missing(made: Artifact, tmp_path: Path) -> None:
    alone = tmp_path / made.entry
    alone.write_bytes(made.entry_path.read_bytes())
    with pytest.raises(UserError, match=r"cannot read .*00002-of-.*\n.*beside the first one"):
        real_gguf(alone)


def test_another_than_the_first_file(made: Artifact) -> None:
    with pytest.raises(UserError, match=r"not the first file of its model\n  -> give .*00001-of"):
        real_gguf(made.directory / made.files[1].name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends within its head"),
        (b"GGML" + bytes(60), "does not begin with GGUF"),
        (b"GGUF\x01\0\0\0" + bytes(60), "its version is 1"),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\xff" * 8, "claims 18446744073709551615 pairs"),
        (b"GGUF\x03\0\0\0" + bytes(8) + b"\x01" + bytes(7) + b"\xff" * 16, "claims a text of 184"),
    ],
)
def test_what_is_no_gguf(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UserError, match=reason):
        real_gguf(path)


def test_a_head_without_dimensions(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + bytes(16))
    assert read_metadata(path) == {}
    with pytest.raises(UserError, match="its metadata lacks"):
        real_gguf(path)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cut=st.integers(0, 4000), place=st.integers(0, 4000), byte=st.binary(min_size=1, max_size=9))
def test_a_damaged_head_is_an_error_or_a_head(
    made: Artifact, tmp_path: Path, cut: int, place: int, byte: bytes
) -> None:
    content = bytearray(made.entry_path.read_bytes()[:40_000])
    content[place : place + len(byte)] = byte
    path = tmp_path / "model.gguf"
    path.write_bytes(content[: len(content) - cut])
    with contextlib.suppress(UserError):
        assert isinstance(read_metadata(path), dict)
