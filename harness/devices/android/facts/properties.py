"""System properties, as `getprop` lists them (AOSP: system/core/toolbox/getprop.cpp)."""

from __future__ import annotations

import re
from typing import Final

# A value may span lines, and may hold brackets: it ends where a line ends with one and the next
# property, or nothing, follows.
_PROPERTY: Final = re.compile(
    r"^\[(?P<key>[^\]\n]*)\]: \[(?P<value>.*?)\]\r?(?=\n\[[^\]\n]*\]: \[|\s*\Z)",
    re.MULTILINE | re.DOTALL,
)
_MOST_PROPERTIES: Final = 20_000


def parse_properties(text: str) -> dict[str, str]:
    """`[ro.product.model]: [Pixel 7]` a line; what is not like that is left out."""
    found: dict[str, str] = {}
    for match in _PROPERTY.finditer(text):
        found[match["key"]] = match["value"]
        if len(found) == _MOST_PROPERTIES:
            break
    return found
