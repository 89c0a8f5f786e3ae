"""Names that can stand in paths and addresses, made of texts that can be anything."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST: Final = 80
_TRADE_MARKS: Final = re.compile(r"\((?:r|tm|c)\)|[®™©]", re.IGNORECASE)
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_PLAIN_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")


def slug(text: str) -> str:
    """The text in small letters, digits and single hyphens; "" where it holds neither."""
    letters = unicodedata.normalize("NFKD", _TRADE_MARKS.sub(" ", text))
    letters = letters.encode("ascii", "ignore").decode().lower()
    return _OTHERS.sub("-", letters).strip("-")[:_LONGEST].rstrip("-")


def short_hash(*parts: str) -> str:
    """Eight hexadecimal digits that tell these texts from others."""
    told_apart = "\0".join(parts).encode(errors="backslashreplace")
    return hashlib.sha256(told_apart).hexdigest()[:8]


def unique_slugs(texts: Iterable[str]) -> dict[str, str]:
    """A slug for each text; those whose slugs are the same, or empty, get a hash behind them.

    The slug of a text does not depend on the order of the others.
    """
    slugs = {text: slug(text) for text in texts}
    often = Counter(slugs.values())
    return {
        text: short if short and often[short] == 1 else f"{short or 'x'}-{short_hash(text)}"
        for text, short in slugs.items()
    }


def file_name_of(trial_id: str) -> str:
    """The id where it can be a file's name as it is, else a hash of it.

    Ids are random hexadecimal digits; but a store may have been imported from anywhere.
    """
    if _PLAIN_ID.fullmatch(trial_id):
        return trial_id
    return f"x-{hashlib.sha256(trial_id.encode(errors='backslashreplace')).hexdigest()[:32]}"
