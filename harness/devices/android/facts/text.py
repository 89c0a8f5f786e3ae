"""Small readers for what a phone prints. All of it is untrusted: bounded, and never executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

LONGEST: Final = 200


def clean(text: str | None) -> str | None:
    """One short printable line, or None where nothing is left."""
    if text is None:
        return None
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * LONGEST]).split())
    return line[:LONGEST] or None


def whole(text: str | None, *, most: int = 1 << 63) -> int | None:
    """A whole number of 0 to `most`, or None."""
    text = (text or "").strip()
    if not text.isascii() or not text.isdecimal() or len(text) > 20:  # noqa: PLR2004 - of 2**64
        return None
    number = int(text)
    return number if number <= most else None


def bodies(text: str, heads: Sequence[re.Match[str]]) -> list[str]:
    """What follows each head in `text`, as far as the next one."""
    ends = [*(head.start() for head in heads), len(text)][1:]
    return [text[head.end() : end] for head, end in zip(heads, ends, strict=True)]
