"""Messages as protobuf's own classes read them."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from harness.weights.mediapipe.messages import encode


@given(st.integers(0, (1 << 63) - 1))
def test_integers(number: int) -> None:
    assert wrappers_pb2.Int64Value.FromString(encode([(1, number)])).value == number


@given(st.floats(width=32, allow_nan=False))
def test_floats(number: float) -> None:
    assert wrappers_pb2.FloatValue.FromString(encode([(1, number)])).value == number


@given(st.text(max_size=300), st.binary(max_size=300))
def test_texts_and_bytes(text: str, data: bytes) -> None:
    assert wrappers_pb2.StringValue.FromString(encode([(1, text)])).value == text
    assert wrappers_pb2.BytesValue.FromString(encode([(1, data)])).value == data


def test_messages_repeated_fields_and_truth() -> None:
    content = encode([(1, "file"), (3, "a"), (3, "b"), (8, ((10, True), (9, 1)))])
    read = descriptor_pb2.FileDescriptorProto.FromString(content)
    assert read.name == "file"
    assert list(read.dependency) == ["a", "b"]
    assert read.options.java_multiple_files
    assert read.options.optimize_for == descriptor_pb2.FileOptions.SPEED


def test_negative_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        encode([(1, -1)])
