from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.fleet.spans import parse_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5h", 5400), (" 3d ", 259_200), ("0.5 s", 0.5)],
)
def test_spans(text: str, seconds: float) -> None:
    assert parse_span(text) == seconds


@given(st.text(max_size=12))
def test_whatever_it_is_it_is_a_span_or_said_not_to_be(text: str) -> None:
    try:
        seconds = parse_span(text)
    except UserError:
        return
    assert seconds > 0


@pytest.mark.parametrize("text", ["5", "h", "-1h", "0s", "1w", "1e3s", "", "2h30m"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(UserError):
        parse_span(text)
