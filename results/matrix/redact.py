"""Takes out of free text what belongs to the lab and not to the device.

Messages of engines, browsers and the lab itself name paths, hosts and users. What is published
keeps the sentence and loses those: of a path its last part stays, of everything else a word that
says what stood there. It errs on the side of taking out too much.
"""

from __future__ import annotations

import getpass
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from results.table import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

LONGEST_TEXT: Final = 2_000
"""Characters of one text that are published; a page can throw megabytes."""

_MOST_ITEMS: Final = 200
_DEEPEST: Final = 8

_PRIVATE_KEYS: Final = re.compile(
    r"env(iron(ment)?)?|host(_?name)?|user(_?name)?|login|home|cwd|argv|serial(_?(no|number))?"
    # A token alone is one of text here.
    r"|authori[sz]ation|cookies?|.+[_-]token|.*(secret|password|credential).*",
    re.IGNORECASE,
)

# In this order: a later pattern sees what the earlier ones left. Repetitions that could begin at
# any character are bounded, so that a hostile text costs no more than its length.
_PATTERNS: Final = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # Variables of the environment: those whose names say so, and the usual ones.
        (r"\b([A-Z][A-Z0-9]*_[A-Z0-9_]+|HOME|HOSTNAME|LOGNAME|PATH|PWD|SHELL|USER)=\S+", r"\1=…"),
        (r"(?i)\b(bearer|basic)\s+[\w.~+/-]{8,}=*", r"\1 …"),
        # Of addresses: the user and password, and what is asked for behind the question mark.
        (r"(?<=://)[^/\s@]+@", ""),
        (r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s?#\"'<>]{0,500})[?#][^\s\"'<>]*", r"\1"),
        (r"\b[\w.+-]{1,64}@[\w-]{1,64}(\.[\w-]{1,64})+", "<address>"),
        # Hosts in a network of one's own, and interfaces (and versions such as 10.5.3.2).
        (r"\b(10\.\d{1,3}|192\.168|169\.254|172\.(1[6-9]|2\d|3[01]))(\.\d{1,3}){2}\b", "<address>"),
        (r"(?i)\b(fe80|f[cd][0-9a-f]{2}):[0-9a-f:]+", "<address>"),
        (r"(?i)\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b", "<address>"),
        # A user's folder may have blanks in its name; everything up to its end goes.
        (r"(?<![\w.])/(home|Users)/[^/\n\"'<>]{1,64}(?=/)", "/…"),
        (r"(?<![A-Za-z])[A-Za-z]:\\Users\\[^\\\n\"'<>]{1,64}(?=\\)", r"C:\\…"),
        # Absolute paths of two parts or more, of a share and of a drive; not those of addresses.
        (r"(?<![\w.:/~…-])~?/(?:[^\s/\"'<>|:;,()]+/)+([^\s/\"'<>|:;,()]*)", r"…/\1"),
        (r"(?<=\bfile://)/(?:[^\s/\"'<>|:;,()]+/)+([^\s/\"'<>|:;,()]*)", r"…/\1"),
        (r"(?<![\w\\])\\\\[\w.$-]+(?:\\[^\s\\\"'<>|:;,()]+)*\\([^\s\\\"'<>|:;,()]*)", r"…/\1"),
        (
            r"(?<![A-Za-z])[A-Za-z]:[\\/](?:[^\s\\/\"'<>|:;,()]+[\\/])*([^\s\\/\"'<>|:;,()]*)",
            r"…/\1",
        ),
    )
)
# Names that say nothing of anybody, and are words of their own.
_NOBODY: Final = frozenset({"", "root", "localhost"})


class Redactor:
    """Takes private things out of texts: those that it knows, and what looks like them."""

    def __init__(self, folders: Iterable[Path | str], words: Iterable[str]) -> None:
        """Folders are taken out wherever they stand; words (hosts, users) where they stand alone.

        Args:
            folders: absolute paths.
            words: names; those that are nobody's (`root`, `localhost`) stay.
        """
        paths = sorted({str(folder) for folder in folders}, key=len, reverse=True)
        # A folder that is the root of everything would be found in every path.
        paths = [path for path in paths if len(path) > 1]
        names = sorted(set(words) - _NOBODY, key=len, reverse=True)
        self._folders = (
            re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, paths))})(?![\w.-])")
            if paths
            else None
        )
        self._words = (
            re.compile(rf"(?<!\w)({'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)
            if names
            else None
        )

    @classmethod
    def of_this_machine(cls, results: Path, hosts: Iterable[str] = ()) -> Self:
        """Knows this user, their home, the folder of the results, and these hosts."""
        folders = {results, results.absolute(), results.resolve(), Path.cwd()}
        folders.add(Path(tempfile.gettempdir()))
        users: set[str] = set()
        try:
            folders.add(Path.home())
            users.add(getpass.getuser())
        except (KeyError, OSError, RuntimeError):  # a user without a name, as in a container
            pass
        absolute = {folder for folder in folders if folder.is_absolute()}
        return cls(absolute, users | set(hosts))

    def text(self, text: str) -> str:
        """The text without them; one line of bounded length."""
        # Cut twice: what is cut in two is not recognised, so the first cut lies well behind.
        text = plain(text[: 4 * LONGEST_TEXT])
        if self._folders:
            text = self._folders.sub("/…", text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        if self._words:
            text = self._words.sub("<name>", text)
        return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"

    def value(self, value: JsonValue, depth: int = 0) -> JsonValue:
        """The same for everything inside a value; keys that name private things go with theirs."""
        match value:
            case str():
                return self.text(value)
            case list() | dict() if depth >= _DEEPEST:
                return "…"
            case list():
                return [self.value(item, depth + 1) for item in value[:_MOST_ITEMS]]
            case dict():
                return {
                    self.text(key): self.value(item, depth + 1)
                    for key, item in list(value.items())[:_MOST_ITEMS]
                    if not _PRIVATE_KEYS.fullmatch(key)
                }
        return value
