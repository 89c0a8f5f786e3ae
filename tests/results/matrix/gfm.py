"""Reads Markdown as GitHub does, and tells what it became.

markdown-it-py implements CommonMark and GitHub's tables and strikethrough, and passes raw HTML on,
as GitHub does before it cleans it. What GitHub links without any markup is looked for in the texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# Mentions, issues, addresses (GitHub's "autolinked references", and section 6.9 of its Markdown, in
# whose hosts anything that is not ASCII may stand).
AUTOLINKED = re.compile(r"(?<!\w)@[a-z0-9]|#\d|\bGH-\d|://|\bwww\.|\w@[\w-]+\.\w", re.IGNORECASE)


@dataclass
class Page(HTMLParser):
    """A rendered page: its tags, links and texts, and the cells of its tables."""

    tags: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    in_cell: bool = False

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.in_cell:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All texts, one after the other."""
        return "".join(self.texts)


def rendered(markdown: str) -> Page:
    """The page that a text becomes."""
    page = Page()
    page.feed(_RENDERER.render(markdown))
    page.close()
    return page
