"""What is personal in a phone's answers, found and taken out.

Two ways together: what the phone says of itself and its user is looked up first and searched for as
it stands (`Secret`), and what has the form of something personal is found by its form. Both find
spans in the text; spans that touch are taken out as one, so that neither way spoils the other.

It takes out rather too much: a version that looks like an address, a long number that is a counter.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Shorter ones would be found in half of all words.
SHORTEST_SECRET: Final = 4
_ROUNDS: Final = 4
_MARK: Final = "<removed {}>"
# What has a form and says nothing: the largest numbers of 64 bits, this very machine.
_LARGEST_NUMBERS: Final = frozenset({"18446744073709551615", "9223372036854775807"})
_ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104
_LOOPBACK: Final = "127."

# Floats are printed with up to 17 digits, which have the form of an IMEI.
_LONG_FRACTION: Final = re.compile(r"(?<![\d.])(\d{1,9}\.\d{6})\d+", re.ASCII)

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
# After a key: quoted, or up to what ends a value in dumps, JSON and getprop. What was taken out
# already is no value.
_VALUE: Final = (
    r"[\"'\]]{0,2}\s*+[:=]\s*+\[?+(?!<removed )"
    r"(\"(?:[^\"\\\n]|\\.){0,200}\"|'[^'\n]{0,200}'|[^\s,;}\]][^,;}\]\n]*)"
)
# The kind, and its form; where it has a group, that is what goes. Repetitions are bounded: a phone
# must not be able to keep this busy.
_FORMS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = tuple(
    (kind, re.compile(form, re.IGNORECASE | flags))
    for kind, form, flags in (
        ("e-mail", r"[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}", 0),
        ("mac", r"(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", 0),
        ("mac", r"[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}", 0),
        ("ip", rf"(?:{_OCTET}\.){{3}}{_OCTET}", re.ASCII),
        # Eight groups, or `::`; C++ names have that too, but not of hexadecimal digits only.
        ("ip", r"(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}", 0),
        (
            "ip",
            r"(?=[0-9a-f:]{6})[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,6}::(?:[0-9a-f]{1,4}:){0,6}[0-9a-f]{0,4}",
            0,
        ),
        ("uuid", r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", 0),
        # IMEI, IMSI and ICCID are 14 to 20 digits, an Android id 16 hexadecimal ones, a MEID 14.
        ("number", r"[0-9a-f]{14,}", 0),
        ("number", r"\d{2}[ -]\d{6}[ -]\d{6}[ -]\d{1,2}", re.ASCII),
        ("phone", r"\+\d[\d ().-]{6,20}\d", re.ASCII),
        ("phone", r"\(\d{3}\) ?\d{3}[ -]\d{4}", re.ASCII),
        ("phone", r"\d{3}-\d{3}-\d{4}", re.ASCII),
        ("place", r"-?\d{1,3}\.\d{4,}\s{0,3}[,;/ ]\s{0,3}-?\d{1,3}\.\d{4,}", re.ASCII),
        ("place", r"\b(?:lat|latitude|lon|lng|longitude)" + _VALUE, 0),
        ("wifi", r"\b(?:b?ssid|wifi[ _]?name)" + _VALUE, 0),
        ("wifi", r"\bconnected to (\"[^\"\n]+\")", 0),
        ("serial", r"\bserial(?:[ _]?(?:no|number))?" + _VALUE, 0),
        ("account", r"\bAccount ?\{ ?name=(?!<removed )([^,}\n]+)", 0),
        ("account", r"\b(?:account|user|owner)_?name" + _VALUE, 0),
        ("user", r"\bUserInfo\{\d+:(?!<removed )([^:}\n]+)", 0),
    )
)


@dataclass(frozen=True, slots=True)
class Secret:
    """Something personal that is known literally. `kind` is a word for the report."""

    kind: str
    value: str


class _Span(NamedTuple):
    start: int
    end: int
    kind: str


class Redactor:
    """Takes out what is personal, and counts it by kind.

    Args:
        secrets: what is known literally; shorter ones than `SHORTEST_SECRET` are not searched for.
    """

    def __init__(self, secrets: Iterable[Secret] = ()) -> None:
        self.removed: Counter[str] = Counter()
        self._known = [
            (secret.kind, re.compile(re.escape(value), re.IGNORECASE))
            for secret in secrets
            for value in sorted(_writings(secret.value))
            if len(value) >= SHORTEST_SECRET
        ]

    def redact(self, text: str) -> str:
        """`text` with marks like `<removed e-mail>` in place of what is personal."""
        text = _LONG_FRACTION.sub(r"\1", text)
        # What was taken out may bring together what had no form before.
        for _ in range(_ROUNDS):
            spans = _merged(self._spans(text))
            if not spans:
                break
            self.removed.update(span.kind for span in spans)
            text = _without(text, spans)
        return text

    def _spans(self, text: str) -> Iterator[_Span]:
        for kind, pattern in self._known:
            for found in pattern.finditer(text):
                yield _Span(found.start(), found.end(), kind)
        for kind, pattern in _FORMS:
            for found in pattern.finditer(text):
                group = pattern.groups
                if not _harmless(kind, found[group]):
                    yield _Span(found.start(group), found.end(group), kind)


def _writings(value: str) -> set[str]:
    """The ways in which a value is written: as it is, and a MAC address without its colons."""
    value = value.strip()
    return (
        {value, re.sub(r"[:-]", "", value)} if re.fullmatch(r"[0-9a-fA-F:-]+", value) else {value}
    )


def _harmless(kind: str, found: str) -> bool:
    if kind == "ip":
        return found.startswith(_LOOPBACK) or found == _ANY_ADDRESS
    return found in _LARGEST_NUMBERS or not found.strip(" \t\"'[]")


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """Spans that touch or overlap as one, of the kind of the longest that begins it."""
    merged: list[_Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if merged and span.start <= merged[-1].end:
            last = merged[-1]
            merged[-1] = _Span(last.start, max(last.end, span.end), last.kind)
        else:
            merged.append(span)
    return merged


def _without(text: str, spans: list[_Span]) -> str:
    pieces: list[str] = []
    at = 0
    for span in spans:
        pieces += (text[at : span.start], _MARK.format(span.kind))
        at = span.end
    return "".join([*pieces, text[at:]])
