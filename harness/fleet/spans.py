"""Spans of time as people write them: `90s`, `30m`, `2h`, `1.5h`, `3d`."""

from __future__ import annotations

import re
from typing import Final

from harness.errors import UserError

_SPAN: Final = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*([smhd])\s*")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_span(text: str) -> float:
    """The seconds that `text` says; the unit is not optional, since a bare number means anything.

    Raises:
        UserError: it is not a span, or not above zero.
    """
    match = _SPAN.fullmatch(text)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds <= 0:
        raise UserError(f"{text!r} is not a span of time", "write it like 90s, 30m, 2h or 1.5h")
    return seconds
