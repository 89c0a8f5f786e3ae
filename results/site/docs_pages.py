"""The project's own documentation as pages of the same site.

The source is written for a repository: links to other documents become links between pages, links
to any other file of the repository become plain text, and images come along.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from results.site.page import Block, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER: Final = "docs"
_README: Final = "README.md"
_OUTSIDE: Final = frozenset({"http", "https", "mailto"})
_IMAGES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".svg"})
_NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")


@dataclass(frozen=True, slots=True)
class Documentation:
    """Pages, and the images they show: where each goes below the root of the site, and its file."""

    pages: list[Page]
    images: dict[str, Path]


def checkout() -> Path | None:
    """The folder of the project with its documentation; `None` where only the package is there."""
    root = Path(__file__).parents[2]
    return root if (root / _README).is_file() and (root / FOLDER).is_dir() else None


def documentation(root: Path) -> Documentation:
    """The README and everything in docs/ as pages.

    Args:
        root: the folder of the project.
    """
    sources = [root / _README, *sorted((root / FOLDER).glob("*.md"))]
    where = {source.relative_to(root).as_posix(): _page_name(source, root) for source in sources}
    images: dict[str, Path] = {}
    pages = [_Reader(root, source, where, images).page() for source in sources]
    return Documentation(pages, images)


def _page_name(source: Path, root: Path) -> str:
    """Where its page goes; all of them lie in one folder."""
    return "index.md" if source == root / _README else source.relative_to(root / FOLDER).as_posix()


class _Reader:
    """Reads one document."""

    def __init__(
        self, root: Path, source: Path, where: dict[str, str], images: dict[str, Path]
    ) -> None:
        self._root = root
        self._source = source
        self._where = where
        self._images = images
        self._anchors: dict[str, int] = {}
        # Raw HTML in a document is shown, not obeyed.
        self._parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])

    def page(self) -> Page:
        tokens = self._parser.parse(self._source.read_text(encoding="utf-8"))
        blocks = [
            Block(
                level=level,
                heading=heading,
                anchor=self._anchor(heading),
                html=self._rendered(body),
            )
            for level, heading, body in self._parts(tokens)
        ]
        name = self._where[self._source.relative_to(self._root).as_posix()]
        return Page(path=f"{FOLDER}/{name}", blocks=blocks, hide=())

    def _parts(self, tokens: Sequence[Token]) -> Iterator[tuple[int, str, list[Token]]]:
        """Level and text of each heading, with what stands below it."""
        level, heading, body = 1, self._source.stem, list[Token]()
        begun = False
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token.type == "heading_open" and token.level == 0:
                if begun or body:
                    yield level, heading, body
                begun = True
                # heading_open, inline, heading_close
                level, heading, body = int(token.tag[1]), _text(tokens[position + 1]), []
                position += 3
            else:
                body.append(token)
                position += 1
        yield level, heading, body

    def _anchor(self, heading: str) -> str:
        """The anchor that GitHub gives such a heading, so that links between documents hold."""
        name = _NOT_IN_ANCHORS.sub("", heading.lower()).strip().replace(" ", "-") or "section"
        number = self._anchors.get(name, 0)
        self._anchors[name] = number + 1
        return f"{name}-{number}" if number else name

    def _rendered(self, tokens: list[Token]) -> Markup:
        for token in tokens:
            if token.children:
                token.children = list(self._relinked(token.children))
            if token.type == "table_open":
                token.attrSet("class", "tl-table")
            if token.type == "th_open":
                token.attrSet("scope", "col")
        html = self._parser.renderer.render(tokens, self._parser.options, {})
        html = html.replace("<table ", f"{_SCROLL}<table ").replace("</table>", "</table></div>")
        return Markup(html)  # noqa: S704 - the parser escapes HTML

    def _relinked(self, tokens: list[Token]) -> Iterator[Token]:
        dropped: list[bool] = []
        for token in tokens:
            match token.type:
                case "link_open":
                    address = self._address(str(token.attrGet("href") or ""))
                    dropped.append(address is None)
                    if address is not None:
                        token.attrSet("href", address)
                        yield token
                    else:
                        yield _code("<code>")
                case "link_close":
                    yield _code("</code>") if dropped.pop() else token
                case "code_inline" if dropped and dropped[-1]:
                    # Code inside of code: the text alone.
                    yield Token("text", "", 0, content=token.content)
                case "image":
                    yield self._image(token)
                case _:
                    yield token

    def _address(self, href: str) -> str | None:
        """Where a link leads on the site; `None` for what is not part of it."""
        parts = urlsplit(href)
        if parts.scheme in _OUTSIDE or not parts.path:
            return href
        page = self._where.get(self._repository_path(parts.path))
        if page is None:
            return None
        name = page.removesuffix(".md") + ".html"
        return f"{name}#{parts.fragment}" if parts.fragment else name

    def _repository_path(self, path: str) -> str:
        folder = self._source.parent.relative_to(self._root).as_posix()
        return posixpath.normpath(posixpath.join(folder, unquote(path)))

    def _image(self, token: Token) -> Token:
        """The image, from a copy beside the pages; its text where it is not of the project."""
        source = str(token.attrGet("src") or "")
        path = self._repository_path(urlsplit(source).path)
        file = self._root / path
        outside = urlsplit(source).scheme or path.startswith("..") or not file.is_file()
        if outside or file.suffix.lower() not in _IMAGES:
            return Token("text", "", 0, content=token.content)
        target = f"{FOLDER}/{path.removeprefix(f'{FOLDER}/')}"
        self._images[target] = file
        token.attrSet("src", target.removeprefix(f"{FOLDER}/"))
        token.attrSet("loading", "lazy")
        return token


_SCROLL: Final = '<div class="tl-scroll" role="region" tabindex="0" aria-label="table">'


def _code(tag: str) -> Token:
    return Token("html_inline", "", 0, content=tag)


def _text(inline: Token) -> str:
    """The text of a heading without its markup."""
    return "".join(
        child.content for child in inline.children or () if child.type in {"text", "code_inline"}
    )
