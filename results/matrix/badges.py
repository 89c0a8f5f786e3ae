"""Badges: one small picture a device and model, for READMEs and pages elsewhere.

Each is written twice: as an SVG of its own, and as the JSON of a shields.io "endpoint" badge
(https://shields.io/badges/endpoint-badge) for those who want its style. What was measured under
limits or on a software adapter says so in its label.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from results.matrix.model import SECTIONS
from results.matrix.names import unique_slugs
from results.matrix.summary import best_of_each, entries
from results.record import Verdict
from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.matrix.model import Matrix, Section
    from results.matrix.summary import Entry

FOLDER: Final = "badges"

LABEL_COLOUR: Final = "#3b3f45"
COLOURS: Final = {
    "high": "#1a7f37",
    "medium": "#4d6b00",
    "low": "#8a5a00",
    "unsupported": "#6e5650",
    None: "#1f6feb",
}
"""By tier of what runs; all bear white text with a contrast of 4.5 or more."""
FAILED_COLOUR: Final = "#b42318"
IMPOSSIBLE_COLOUR: Final = "#57606a"

# The two code points that are neither controls nor halves of characters, and have no place in XML.
_NOT_IN_XML: Final = dict.fromkeys((0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}")
_LONGEST: Final = 70
_HEIGHT: Final = 20
_PADDING: Final = 6
_CHARACTER: Final = 6.6
_WIDE_CHARACTER: Final = 11.5


@dataclass(frozen=True, slots=True)
class Badge:
    """What a badge says."""

    label: str
    message: str
    colour: str

    def svg(self) -> str:
        """The badge as a picture that screen readers can read; it loads and runs nothing."""
        label, message = escape(self.label), escape(self.message)
        left, right = _width(self.label), _width(self.message)
        title = f"{label}: {message}"
        quoted = title.replace('"', "&quot;")
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}"'
            f' role="img" aria-label="{quoted}"><title>{title}</title>'
            f'<rect width="{left}" height="{_HEIGHT}" fill="{LABEL_COLOUR}"/>'
            f'<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{self.colour}"/>'
            '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
            f"{_words(label, 0, left)}{_words(message, left, right)}</g></svg>\n"
        )

    def endpoint(self) -> str:
        """The badge as shields.io takes it."""
        shown = {
            "schemaVersion": 1,
            "label": self.label,
            "message": self.message,
            "color": self.colour.removeprefix("#"),
            "labelColor": LABEL_COLOUR.removeprefix("#"),
        }
        return json.dumps(shown, ensure_ascii=False) + "\n"


def _words(escaped: str, left: int, width: int) -> str:
    # Whatever font there is, the words are as wide as the box has room for.
    room = width - 2 * _PADDING
    return (
        f'<text x="{left + _PADDING}" y="14" textLength="{room}"'
        f' lengthAdjust="spacingAndGlyphs">{escaped}</text>'
    )


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return round(wide * _WIDE_CHARACTER + (len(text) - wide) * _CHARACTER) + 2 * _PADDING


def badges(matrix: Matrix) -> Iterator[tuple[str, Badge]]:
    """Each badge with its address, without the ending: `badges/SECTION/DEVICE/MODEL`."""
    models = unique_slugs(matrix.models)
    for section in SECTIONS:
        best = best_of_each(entries(matrix, section), matrix.meta.generated_at)
        for (device_id, model), entry in best.items():
            address = f"{FOLDER}/{_folder(section)}/{device_id}/{models[model]}"
            yield address, badge_of(entry, out_of_date=entry.cell.expired(matrix.meta.generated_at))


def badge_of(entry: Entry, *, out_of_date: bool) -> Badge:
    """The badge of a device and model, from the best of their cells."""
    device = entry.device
    name = device.name if device.limited or not device.hardware else device.hardware
    marks = f" ({entry.marks})" if entry.marks else ""
    room = _LONGEST - len(marks)
    return Badge(
        label=_short(f"{entry.model} on {name}", room) + marks,
        message=entry.outcome + (", out of date" if out_of_date else ""),
        colour=_colour(entry),
    )


def _folder(section: Section) -> str:
    return section.replace("_", "-")


def _colour(entry: Entry) -> str:
    if entry.cell.verdict is Verdict.OK:
        return COLOURS[entry.cell.tier]
    return IMPOSSIBLE_COLOUR if entry.cell.verdict is Verdict.UNSUPPORTED else FAILED_COLOUR


def _short(text: str, longest: int) -> str:
    text = plain(text).translate(_NOT_IN_XML)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
