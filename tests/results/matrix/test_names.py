"""Names for paths and addresses."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.matrix.names import file_name_of, slug, unique_slugs
from tests.results.matrix.stores import HOSTILE

ANYTHING = st.text(max_size=100) | st.sampled_from(HOSTILE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pixel-7", "pixel-7"),
        ("desktop Intel(R) Xeon(R) Processor, 2 cores, 24 GiB",
         "desktop-intel-xeon-processor-2-cores-24-gib"),
        ("Café Ⅳ", "cafe-iv"),
        ("../../etc/passwd", "etc-passwd"),
        ("漢字", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_readable_slug(text: str, expected: str) -> None:
    assert slug(text) == expected


@given(ANYTHING)
def test_a_slug_is_fit_for_any_path(text: str) -> None:
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", slug(text))
    assert len(slug(text)) <= 80


@given(st.lists(ANYTHING, unique=True, max_size=8))
def test_different_texts_have_different_slugs_in_any_order(texts: list[str]) -> None:
    slugs = unique_slugs(texts)
    assert len(set(slugs.values())) == len(texts)
    assert all(slugs.values())
    assert unique_slugs(reversed(texts)) == slugs


def test_only_those_that_clash_carry_a_hash() -> None:
    slugs = unique_slugs(["a b", "a-b", "c"])
    assert slugs["c"] == "c"
    assert all(re.fullmatch(r"a-b-[0-9a-f]{8}", slugs[text]) for text in ("a b", "a-b"))


@given(ANYTHING)
def test_a_file_name_stays_in_its_folder(trial_id: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", file_name_of(trial_id))
    assert len(file_name_of(trial_id)) <= 80


def test_an_ordinary_id_is_its_own_file_name() -> None:
    assert file_name_of("a0300603be254ddba976e8c621047edf") == "a0300603be254ddba976e8c621047edf"
