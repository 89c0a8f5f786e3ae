from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from results.site.text import LONGEST, NAMELESS, clean, heading, name, slug, title
from tests.results.site.examples import HOSTILE

TEXT = st.text(max_size=40) | st.sampled_from(HOSTILE)
INLINE = MarkdownIt("commonmark")


@pytest.mark.parametrize(
    "text", ["pixel-9-pro", "gemma-3-270m", "phi-3.5-mini", "a", "desktop-2g-2-cores-8-gib"]
)
def test_what_can_be_a_file_name_stays_one(text: str) -> None:
    assert slug(text) == text


@pytest.mark.parametrize("text", ["index", "a..b", "../x", "A", "a b", "a/b", "", "é", "x" * 61])
def test_what_cannot_gets_one_of_its_own(text: str) -> None:
    assert slug(text) != text
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{8}", slug(text))


@given(TEXT, TEXT)
def test_slugs_can_be_file_names_and_tell_texts_apart(one: str, other: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,80}", slug(one))
    assert (slug(one) == slug(other)) == (one == other)


@given(TEXT)
def test_titles_hold_nothing_that_html_would_obey(text: str) -> None:
    shown = title(text)
    assert shown
    assert not set(shown) & set("<>&\"'`")
    assert not any(unicodedata.category(character) == "Cc" for character in shown)


@given(TEXT)
def test_headings_read_as_the_title_and_nothing_else(text: str) -> None:
    tokens = INLINE.parse(f"# {heading(text)}")
    assert [token.type for token in tokens] == ["heading_open", "inline", "heading_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    shown = "".join(child.content for child in children)
    # Markdown takes spaces at the ends away, and those of other scripts with them.
    assert shown.split() == title(text).split()


@given(st.text(max_size=80))
def test_headings_leave_nothing_to_attribute_lists(text: str) -> None:
    markup = re.sub(r"&#\d+;", "", heading(text))
    assert not set(markup) & set("{}[]<>*_`|\\!#\"'~^$@")


def test_long_texts_are_cut_and_no_name_is_said_to_be_none() -> None:
    assert len(clean("x" * 10_000)) == LONGEST
    assert len(name("x" * 10_000)) < 100
    assert name(" \u200b"[:1]) == NAMELESS
    assert title("") == NAMELESS
