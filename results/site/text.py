"""Text of devices, models and pages, made fit for HTML, Markdown headings, anchors and file names.

Templates escape whatever is printed; what is here takes care of the places that a template does not
reach: headings and titles pass through Markdown and the theme, which escape nothing, and names
become addresses.
"""

from __future__ import annotations

import re
from typing import Final

from markupsafe import Markup

from results.matrix import names
from results.table import plain

LONGEST: Final = 2_000
"""Characters of one text that a page shows; the evidence file has the whole."""

NAMELESS: Final = "without a name"

_LONGEST_FILE_NAME: Final = 60
_LONGEST_NAME: Final = 70
_LONGEST_TITLE: Final = 90
# Quotes and brackets that look alike and mean nothing to HTML, for where nothing is escaped.
_HARMLESS: Final = str.maketrans(
    {
        "<": "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
        ">": "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
        "&": "\N{FULLWIDTH AMPERSAND}",
        '"': "\N{DOUBLE PRIME}",
        "'": "\N{PRIME}",
        "`": "\N{PRIME}",
    }
)
# Neither controls nor halves of characters, and still without a place in XML, which a chart is.
_NOT_IN_XML: Final = dict.fromkeys((0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")
# All ASCII punctuation, but what Markdown never reads as markup inside a heading.
_MARKUP = re.compile(r"[!-~]")
_NO_MARKUP: Final = frozenset("0123456789-.,/:;()%?=+")
_FIT_FOR_NAMES = re.compile(r"[a-z0-9][a-z0-9.-]*")
# Not of a device or model, but of the page that lists them.
_RESERVED: Final = frozenset({"index"})


def clean(value: object, longest: int = LONGEST) -> str:
    """One line of text without control characters, cut where it is longer than a page can bear."""
    text = plain(str(value)).translate(_NOT_IN_XML)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def name(value: object) -> str:
    """A name as tables and links show it: cut where it would push everything else away."""
    return clean(value, _LONGEST_NAME).strip() or NAMELESS


def printed(value: object) -> object:
    """What a template prints: our own markup as it is, anything else clean (and then escaped)."""
    return value if isinstance(value, Markup) else clean(value)


def slug(text: str) -> str:
    """A file name or anchor for a text, the same each time; of different texts different ones.

    A text that is fit already stays as it is; of any other a readable part is kept, with a hash
    that tells it apart.
    """
    fit = _FIT_FOR_NAMES.fullmatch(text) and ".." not in text and text not in _RESERVED
    if fit and len(text) <= _LONGEST_FILE_NAME:
        return text
    readable = names.slug(text)[:_LONGEST_FILE_NAME].rstrip("-")
    return f"{readable or 'x'}-{names.short_hash(text)}"


def title(text: str) -> str:
    """A title that holds no character that HTML could take for markup."""
    return clean(text, _LONGEST_TITLE).translate(_HARMLESS).strip() or NAMELESS


def heading(text: str) -> str:
    """The title as Markdown that reads as that text and nothing else."""
    return _MARKUP.sub(
        lambda found: (
            found[0] if found[0].isalnum() or found[0] in _NO_MARKUP else f"&#{ord(found[0])};"
        ),
        title(text),
    )
