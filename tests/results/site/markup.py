"""Reads built pages: what they link to, what they load, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

# Attributes that make a browser load something, as opposed to a link that a reader may follow.
_LOADING: Final = {
    ("script", "src"),
    ("img", "src"),
    ("img", "srcset"),
    ("iframe", "src"),
    ("link", "href"),
    ("object", "data"),
    ("embed", "src"),
    ("source", "src"),
    ("video", "src"),
    ("audio", "src"),
    ("form", "action"),
    ("meta", "content"),
    ("use", "href"),
    ("use", "xlink:href"),
    ("image", "href"),
    ("image", "xlink:href"),
}
# Elements of the theme that are no part of a page's own content.
_VOID: Final = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}


@dataclass
class Markup(HTMLParser):
    """One page."""

    path: Path
    ids: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    handlers: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    tables: list[Counter[str]] = field(default_factory=list)
    images_without_text: int = 0
    charts: int = 0
    chart_titles: int = 0
    text: str = ""
    _open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.feed(self.path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        for name, value in attrs:
            self._attribute(tag, name, value or "")
        if tag not in _VOID:
            self._open.append(tag)
        match tag:
            case "table":
                self.tables.append(Counter())
            case "th" if self.tables and not given.get("scope"):
                self.tables[-1]["th without scope"] += 1
            case "caption" | "td" | "th" if self.tables:
                self.tables[-1][tag] += 1
            case "img" if given.get("alt") is None:
                self.images_without_text += 1
            case "svg" if given.get("role") == "img":
                self.charts += 1
            case "title" if "svg" in self._open[:-1]:
                self.chart_titles += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        else:
            self.text += data

    def _attribute(self, tag: str, name: str, value: str) -> None:
        if name == "id":
            self.ids[value] += 1
        if name.startswith("on"):
            self.handlers.append(f"{tag} {name}={value}")
        if (tag, name) in _LOADING and (tag != "meta" or "url=" in value.lower()):
            self.loads.append(value)
        if tag == "a" and name == "href":
            self.links.append(value)

    def target(self, link: str) -> tuple[Path, str] | None:
        """The file and the anchor of a link or load; `None` where it leads to another site."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            return None
        file = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
        return file, unquote(parts.fragment)
