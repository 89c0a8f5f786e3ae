"""The order of versions."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.regressions.versions import version_key


@pytest.mark.parametrize(
    "ordered",
    [
        ["156.0.9", "156.0.10", "157.0.1"],
        ["9.1", "10", "10.0.1"],
        ["156.0.8078.99", "156.0.8078.108"],
        ["1.30.0-dev.20260101-abc", "1.30.0-dev.20260102-abc", "1.30.0", "1.30.1-rc.1"],
        ["0.1.0.dev2", "0.1.0.dev10", "0.1.0a1", "0.1.0rc1", "0.1.0", "0.1.0+g12"],
        ["3.8.1 (b9999-46ca246)", "3.8.1 (b11364-46ca246)", "3.10.0 (b1-0)"],
        ["litert-lm-api 0.9.0", "litert-lm-api 0.18.1"],
        ["", "1", "unreleased"],
    ],
)
def test_numbers_count_as_numbers(ordered: list[str]) -> None:
    mixed = random.Random(1).sample(ordered, len(ordered))  # noqa: S311 - repeatable
    assert sorted(mixed, key=version_key) == ordered


def test_a_number_without_end_is_no_number() -> None:
    """Python refuses to read more than 4300 digits."""
    assert version_key("9" * 5000) < version_key("1" + "0" * 5000)


@given(st.lists(st.text(st.sampled_from("019.-+ab\n٣"), max_size=8), max_size=6))
def test_any_text_has_a_place(texts: list[str]) -> None:
    ordered = sorted(version_key(text) for text in texts)
    assert all(low <= high for low, high in itertools.pairwise(ordered))


@given(st.lists(st.integers(min_value=0, max_value=10**20), min_size=1, max_size=4))
def test_a_higher_number_is_later(parts: list[int]) -> None:
    higher = [*parts[:-1], parts[-1] + 1]
    dotted = [".".join(map(str, numbers)) for numbers in (parts, higher)]
    assert version_key(dotted[0]) < version_key(dotted[1])
