"""The order of version numbers as people read them: 156.0.9 comes before 156.0.10."""

from __future__ import annotations

import re
from typing import Final

# A name before the number ("xllamacpp 0.2.1"), the number, and what follows it.
_PARTS: Final = re.compile(r"([^0-9]*)([0-9]+(?:\.[0-9]+)*)?(.*)", re.DOTALL)
_DIGITS: Final = re.compile(r"([0-9]+)")
# `1.2.0-dev.3` (npm), `1.2.0.dev3`, `1.2.0rc1` (Python); ` (b11364)` and `+g1` are no such marks.
_PRE_RELEASE: Final = re.compile(r"-|\.?(?:a|b|rc|dev|alpha|beta|pre)", re.IGNORECASE)

Digits = tuple[int, str]
VersionKey = tuple[str, tuple[Digits, ...], bool, tuple[tuple[Digits, str], ...]]


def version_key(version: str) -> VersionKey:
    """What versions are sorted by: number by number, and a pre-release before its release.

    Any text has a place. Numbers may be of any length, since a device may say anything.
    """
    found = _PARTS.fullmatch(version)
    if found is None:
        raise AssertionError("the pattern takes any text")
    name, number, rest = found[1], found[2] or "", found[3]
    pieces = _DIGITS.split(rest)
    return (
        name,
        tuple(_digits(part) for part in number.split(".") if part),
        not _PRE_RELEASE.match(rest),
        tuple(
            (_digits(piece), "") if place % 2 else ((0, ""), piece)
            for place, piece in enumerate(pieces)
        ),
    )


def _digits(text: str) -> Digits:
    """A whole number that sorts as such, without making one of a million digits."""
    significant = text.lstrip("0")
    return len(significant), significant
