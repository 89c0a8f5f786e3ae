"""Free storage, as `df -k` tells it.

Format: toybox `toys/posix/df.c` (Android 6 and later): a header that ends in `Mounted on`, then
`filesystem blocks used available use% mount` in blocks of 1 KiB; a long name of a file system
stands on a line of its own. The older toolbox wrote sizes like `12.3G`; its numbers are rounded,
and not read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024
_STAT: Final = re.compile(r"\s*(?P<blocks>\d{1,15}) (?P<free>\d{1,15}) (?P<size>\d{1,7})\s*$")
_ROW: Final = re.compile(
    r"^(?P<source>\S+)\s+(?P<blocks>\d{1,16})\s+(?P<used>\d{1,16})\s+(?P<free>-?\d{1,16})"
    r"\s+(?P<percent>-?\d+%|-)\s+(?P<mount>/.*?)\s*$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Storage:
    """One file system: its size, and what a process without privileges may still use."""

    mount: str
    total_bytes: int
    free_bytes: int


def parse_df(text: str) -> Storage | None:
    """The first file system of `df -k PATH`; None where there is none."""
    match = _ROW.search(text)
    if not match:
        return None
    return Storage(
        mount=match["mount"],
        total_bytes=int(match["blocks"]) * _KIB,
        free_bytes=max(0, int(match["free"])) * _KIB,
    )


def parse_stat(text: str, mount: str) -> Storage | None:
    """`stat -f -c '%b %a %S' PATH`: blocks, those free for everybody, bytes of one (toybox)."""
    match = _STAT.match(text)
    if not match:
        return None
    size = int(match["size"])
    return Storage(mount, int(match["blocks"]) * size, int(match["free"]) * size)
