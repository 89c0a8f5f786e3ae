"""A page of the site, independent of what turns it into a website.

A page is headings and, below each, HTML of our own. The headings go through Markdown, so that the
theme knows them (contents, search, skip link); the HTML passes through it untouched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from results.site.text import heading, name, printed, title

HIDE: Final = ("navigation", "toc")


@dataclass(frozen=True, slots=True)
class Block:
    """A heading of that level (1 is the page's own) with what stands below it."""

    level: int
    heading: str
    anchor: str
    html: Markup


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        path: from the root of the site, ending in `.md`; the page itself ends in `.html`.
        blocks: the first is of level 1.
        hide: what of the theme is not shown: `navigation`, `toc`.
    """

    path: str
    blocks: list[Block] = field(default_factory=list)
    hide: tuple[str, ...] = HIDE

    @property
    def title(self) -> str:
        """The text of the first heading, harmless wherever it is put."""
        return title(self.blocks[0].heading)

    def markdown(self) -> str:
        """The page as the source file of a website."""
        # JSON is YAML, and knows how to quote whatever a name holds.
        matter = json.dumps({"title": self.title, "hide": self.hide})
        return f"---\n{matter}\n---\n\n" + "\n".join(map(_block, self.blocks))


def _block(block: Block) -> str:
    head = f"{'#' * block.level} {heading(block.heading)} {{ #{block.anchor} }}"
    # One element is one raw block to Markdown, whatever is in it.
    return f'{head}\n\n<div class="tl">\n{block.html}\n</div>\n'


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("results.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printed,
    )
    environment.filters["name"] = name
    return environment


def filled(template: str, /, **values: object) -> Markup:
    """A template with its values; whatever is no markup of our own is cleaned and escaped."""
    return Markup(_environment().get_template(template).render(**values))  # noqa: S704 - autoescaped
