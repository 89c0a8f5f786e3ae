"""System properties, as `getprop` lists them (AOSP: system/core/toolbox/getprop.cpp)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_START: Final = re.compile(r"\[(?P<key>[^\[\]]{1,200})\]: \[(?P<value>.*)")
_MOST_PROPERTIES: Final = 20_000
_LONGEST_VALUE: Final = 64 << 10
# Set by the virtual phone, and by Google's emulators in their two generations.
_EMULATED: Final = ("ro.tierlab.virtual", "ro.kernel.qemu", "ro.boot.qemu")


def parse_properties(text: str) -> dict[str, str]:
    """`[ro.product.model]: [Pixel 7]` a line; what is not like that is left out.

    A value may span lines: it ends with the first that ends with a bracket.
    """
    found: dict[str, str] = {}
    key, value = "", ""
    for line in text.replace("\r\n", "\n").split("\n"):
        start = _START.fullmatch(line)
        if start:
            key, value = start["key"], start["value"]
        elif key:
            value += f"\n{line}"
        if key and value.endswith("]"):
            found[key] = value[:-1]
            key = ""
        if len(value) > _LONGEST_VALUE:
            key = value = ""
        if len(found) == _MOST_PROPERTIES:
            break
    return found


def is_emulated(properties: Mapping[str, str]) -> bool:
    """Whether this is a virtual phone of tierlab's, or one of Google's emulators."""
    return any(properties.get(mark) == "1" for mark in _EMULATED)
