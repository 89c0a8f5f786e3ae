"""The user's own model files, good and bad. Synthetic ones serve as samples."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import UserError
from harness.models import MODELS, tiny
from harness.weights.onnx.real import real_artifact
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.writing import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.weights.artifact import Artifact


@pytest.fixture
def sample(tmp_path: Path) -> Artifact:
    """A decoder in three files."""
    options = OnnxRecipe(float_type="fp16", shard_bytes=150_000)
    return write(options.plan(tiny(MODELS["gemma-2-2b-it"])), tmp_path / "my model")


def edit(artifact: Artifact, change: Callable[[onnx.ModelProto], object]) -> None:
    model = onnx.load(str(artifact.entry_path), load_external_data=False)
    change(model)
    artifact.entry_path.write_bytes(model.SerializeToString())


def test_reads_what_a_decoder_loop_needs(sample: Artifact) -> None:
    calls: list[tuple[int, int]] = []
    found = real_artifact(sample.entry_path, lambda *call: calls.append(call))
    assert found.kind == "real"
    assert found.model == "my model"
    assert found.quantisation is None
    assert found.float_type == "fp16"
    assert found.shape == sample.shape
    assert found.files == sample.files
    assert found.total_bytes == sample.total_bytes
    assert abs(found.stored_bytes - sample.stored_bytes) < 1000  # its few small constants
    assert found.inputs == ("input_ids", "attention_mask")
    assert found.damage() is None
    assert calls[-1] == (found.total_bytes, found.total_bytes)
    assert found.sha256 is not None
    assert found.key == f"real-my-model-{found.sha256[:10]}"
    assert real_artifact(sample.directory) == found


def test_the_hash_is_over_names_sizes_and_bytes(sample: Artifact) -> None:
    digest = hashlib.sha256()
    for file in sample.files:
        content = (sample.directory / file.name).read_bytes()
        digest.update(file.name.encode() + b"\0" + str(len(content)).encode() + b"\0" + content)
    assert real_artifact(sample.directory).sha256 == digest.hexdigest()
    data = sample.directory / sample.files[-1].name
    changed = bytearray(data.read_bytes())
    changed[-1] ^= 1
    data.write_bytes(changed)
    assert real_artifact(sample.directory).sha256 != digest.hexdigest()


def test_weights_inside_the_file(sample: Artifact, tmp_path: Path) -> None:
    model = onnx.load(str(sample.entry_path))
    path = tmp_path / "inside.onnx"
    onnx.save_model(model, str(path), save_as_external_data=False)
    found = real_artifact(path)
    assert [file.name for file in found.files] == ["inside.onnx"]
    assert found.model == "inside"
    assert found.shape == sample.shape


def test_other_inputs_are_listed(sample: Artifact) -> None:
    value = onnx.helper.make_tensor_value_info(
        "position_ids", onnx.TensorProto.INT64, ["batch", "sequence"]
    )
    edit(sample, lambda model: model.graph.input.append(value))
    assert real_artifact(sample.directory).inputs == ("input_ids", "attention_mask", "position_ids")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model at"):
        real_artifact(tmp_path / "no.onnx")
    with pytest.raises(UserError, match=r"no \.onnx file in"):
        real_artifact(tmp_path)


def test_several_files_to_choose_from(sample: Artifact) -> None:
    shutil.copy(sample.entry_path, sample.directory / "decoder.onnx")
    assert real_artifact(sample.directory).entry == "model.onnx"
    shutil.copy(sample.entry_path, sample.directory / "other.onnx")
    sample.entry_path.unlink()
    with pytest.raises(UserError, match=r"2 \.onnx files .*: decoder\.onnx, other\.onnx"):
        real_artifact(sample.directory)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, b"<html>not found</html>"])
def test_not_onnx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UserError, match="is not an ONNX model"):
        real_artifact(tmp_path)


def test_larger_than_the_format_allows(tmp_path: Path) -> None:
    with (tmp_path / "a.onnx").open("wb") as file:
        file.truncate(2**31)  # sparse
    with pytest.raises(UserError, match="larger than 2 GB"):
        real_artifact(tmp_path)


def test_external_data_is_missing(sample: Artifact) -> None:
    (sample.directory / "model.onnx_data_1").unlink()
    with pytest.raises(UserError, match=r"external data file .*model\.onnx_data_1 is missing"):
        real_artifact(sample.directory)


def test_external_data_is_cut_short(sample: Artifact) -> None:
    data = sample.directory / sample.files[-1].name
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"is cut short: .* bytes, at least"):
        real_artifact(sample.directory)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "..\\b", ""])
def test_external_data_elsewhere_is_refused(sample: Artifact, location: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location

    edit(sample, change)
    with pytest.raises(UserError, match="outside the model's directory"):
        real_artifact(sample.directory)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("input", "input_ids"),
        ("input", "attention_mask"),
        ("input", "past_key_values.0.key"),
        ("input", "past_key_values.2.value"),
        ("output", "logits"),
        ("output", "present.3.key"),
    ],
)
def test_not_a_decoder(sample: Artifact, where: str, name: str) -> None:
    def rename(model: onnx.ModelProto) -> None:
        for value in getattr(model.graph, where):
            if value.name == name:
                value.name = "renamed"

    edit(sample, rename)
    with pytest.raises(UserError, match=f"{where} '{name}' is missing"):
        real_artifact(sample.directory)


def test_dimensions_that_vary(sample: Artifact) -> None:
    def vary(name: str) -> Callable[[onnx.ModelProto], None]:
        def change(model: onnx.ModelProto) -> None:
            for value in (*model.graph.input, *model.graph.output):
                if value.name == name:
                    for dim in value.type.tensor_type.shape.dim:
                        dim.dim_param = "some"

        return change

    edit(sample, vary("logits"))
    with pytest.raises(UserError, match="does not fix the vocabulary"):
        real_artifact(sample.directory)
    edit(sample, vary("past_key_values.0.key"))
    with pytest.raises(UserError, match=r"'past_key_values\.0\.key' does not fix"):
        real_artifact(sample.directory)


def test_another_cache_type(sample: Artifact) -> None:
    def change(model: onnx.ModelProto) -> None:
        for value in model.graph.input:
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8

    edit(sample, change)
    with pytest.raises(UserError, match="neither float32 nor float16"):
        real_artifact(sample.directory)


@pytest.mark.parametrize("name", [b"model.onnx_data", b"past_key_values.0.key", b"input_ids"])
def test_names_that_are_not_text(sample: Artifact, name: bytes) -> None:
    content = sample.entry_path.read_bytes()
    assert name in content
    sample.entry_path.write_bytes(content.replace(name, b"\xff" + name[1:]))
    with pytest.raises(UserError, match="is missing"):
        real_artifact(sample.directory)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_broken_files_are_the_users_to_mend(sample: Artifact, data: st.DataObject) -> None:
    """Whatever bytes change, there is an artifact or a UserError, never another exception."""
    content = bytearray(sample.entry_path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    broken = sample.directory / "broken.onnx"
    broken.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        found = real_artifact(broken)
    except UserError as error:
        assert str(broken.parent) in str(error) or "tensor" in str(error)  # noqa: PT017
    else:
        assert found.damage() is None
