from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.emulation.limits import format_bytes, parse_bytes
from harness.errors import UserError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2g", 2 << 30),
        ("512m", 512 << 20),
        ("512M", 512 << 20),
        ("1.5GiB", 3 << 29),
        (" 1 TiB ", 1 << 40),
        ("4GB", 4_000_000_000),
        ("100kB", 100_000),
        ("7", 7),
        ("7 B", 7),
        ("0.0001k", None),
        ("0", None),
        ("", None),
        ("g", None),
        ("-1g", None),
        ("1,5g", None),
        ("2 gigs", None),
        ("5iB", None),
        ("1e9", None),
        ("inf", None),
        ("nan", None),
        ("٣g", None),
        ("9" * 5000, None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    if size is None:
        with pytest.raises(UserError, match="is not a size"):
            parse_bytes(text)
    else:
        assert parse_bytes(text) == size


@given(st.text())
def test_any_text_is_a_size_or_a_user_error(text: str) -> None:
    try:
        size = parse_bytes(text)
    except UserError:
        return
    assert size >= 1


@given(st.integers(min_value=1, max_value=10**18 - 1))
def test_a_number_alone_is_bytes(size: int) -> None:
    assert parse_bytes(str(size)) == size


@given(st.integers(min_value=1, max_value=2**50))
def test_what_is_formatted_is_read_again(size: int) -> None:
    again = parse_bytes(format_bytes(size))
    assert abs(again - size) <= size * 0.005
    assert parse_bytes(format_bytes(again)) == again


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (7, "7 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (200 << 20, "200 MiB"),
        (3 << 29, "1.5 GiB"),
        (5 << 50, "5120 TiB"),
    ],
)
def test_format(size: int, text: str) -> None:
    assert format_bytes(size) == text
