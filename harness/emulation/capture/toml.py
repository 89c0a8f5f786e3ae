"""Writing TOML: as much of it as profiles and indexes need."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def quoted(text: str) -> str:
    """A basic string: JSON's escapes are TOML's, but for surrogates and a bare DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def array(values: Iterable[str]) -> str:
    """An array of strings on one line."""
    return f"[{', '.join(map(quoted, values))}]"


def section(name: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    """The lines of a table, with an empty one before it; none where it has no rows.

    Args:
        name: as it stands between the brackets.
        rows: keys, and values as TOML writes them.
    """
    lines = [f"{_key(key)} = {value}" for key, value in rows]
    return ["", f"[{name}]", *lines] if lines else []


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)
