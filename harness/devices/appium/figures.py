"""Numbers out of an app's texts. Pure; the texts are untrusted and bounded."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.devices.appium.app import Count, Figure, FigureName

LONGEST_TEXT: Final = 4000
MOST_TEXTS: Final = 500
_MILLI: Final = 1000.0
# To seconds, or to tokens a second.
_SCALES: Final = {"": 1.0, "ms": 1 / _MILLI, "s": 1.0, "sec": 1.0, "min": 60.0, "tokens/s": 1.0}
# `1,234.5` and `1 234.5` (with whichever space), but `12,5` is a decimal comma.
_GROUPED: Final = re.compile(r"\d{1,3}(?:[,\s]\d{3})+(?:\.\d+)?")
_NUMBER: Final = re.compile(r"\d{1,12}(?:[.,]\d{1,12})?")


def read_number(text: str) -> float | None:
    """A number that is not negative, as an app prints it; `None` for anything else."""
    text = text.strip()[:40]
    if _GROUPED.fullmatch(text):
        return float(re.sub(r"[,\s]", "", text))
    if _NUMBER.fullmatch(text):
        return float(text.replace(",", "."))
    return None


def read_figure(figure: Figure, texts: Iterable[str]) -> float | None:
    """The figure in seconds, in tokens a second, or in tokens; `None` where no text has it."""
    found = None
    for text in list(texts)[-MOST_TEXTS:]:
        for match in re.finditer(figure.pattern, text[:LONGEST_TEXT]):
            value = read_number(match["value"] or "")
            unit = match.groupdict().get("unit") or figure.unit
            found = _scaled(value, unit.strip()) if value is not None else found
    return found


def read_figures(
    figures: Sequence[Figure], texts: Mapping[int, Sequence[str]]
) -> dict[FigureName, float]:
    """All figures that were found.

    Args:
        figures: what to look for. Where several have the same name, the first that is found counts.
        texts: what the selector of each figure found, by the figure's place in `figures`.
    """
    found: dict[FigureName, float] = {}
    for place, figure in enumerate(figures):
        value = read_figure(figure, texts.get(place, ()))
        if value is not None and figure.name not in found:
            found[figure.name] = value
    return found


def read_count(count: Count, text: str | None) -> int | None:
    """The running number of tokens; `None` where the text has none."""
    match = re.search(count.pattern, (text or "")[:LONGEST_TEXT])
    value = read_number(match["value"] or "") if match else None
    return None if value is None else int(value)


def _scaled(value: float, unit: str) -> float | None:
    if unit == "ms/token":
        return _MILLI / value if value > 0 else None
    scale = _SCALES.get(unit)
    scaled = None if scale is None else value * scale
    return scaled if scaled is not None and math.isfinite(scaled) else None
