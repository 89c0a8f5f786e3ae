"""Sizes as people write them: `2g`, `512m`, `1.5GiB`, `4GB`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from harness.errors import UserError

_SIZE: Final = re.compile(
    r"\s*(?P<number>[0-9]{1,18}(\.[0-9]{1,9})?)\s*(?P<unit>|b|[kmgt](i?b)?)\s*", re.IGNORECASE
)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_STEP: Final = 1024


def parse_bytes(text: str) -> int:
    """The bytes that `text` says, to the nearest byte; units in any case.

    `k m g t` and `KiB MiB GiB TiB` are powers of 1024, `kB MB GB TB` powers of 1000 (IEC 80000-13),
    a number alone is bytes.

    Raises:
        UserError: `text` is not a size, or is less than one byte.
    """
    match = _SIZE.fullmatch(text)
    size = 0
    if match:
        unit = match["unit"].lower().removesuffix("b")
        decimal = len(match["unit"]) == len("kb")
        base = 1000 if decimal else _STEP
        size = round(Fraction(match["number"]) * base ** _POWERS[unit.removesuffix("i")])
    if size < 1:
        raise UserError(f"{text!r} is not a size", "write it like 512m, 2g, 1.5GiB or 4GB")
    return size


def format_bytes(size: int) -> str:
    """`size` for people, in powers of 1024 and within 0.1 %: `1.5 GiB`, `200 MiB`, `7 B`."""
    power = min(max(size.bit_length() - 1, 0) // 10, max(_POWERS.values()))
    if power == 0:
        return f"{size} B"
    number = f"{size / _STEP**power:.2f}".rstrip("0").rstrip(".")
    return f"{number} {' KMGT'[power]}iB"
