"""What a benchmark program measured, whoever it is. A program's words are untrusted: bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import JsonValue

MOST_RUNS: Final = 1000
MOST_TEXT: Final = 400
# Above this a rate is no rate of a phone, and would only spoil an axis.
_HIGHEST_RATE: Final = 1e7


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one start of a program; what it did not say is None or empty.

    Attributes:
        prefill: tokens a second of the prompt, one for each repetition.
        decode: tokens a second of the output, one for each repetition.
        prompt_tokens: how many tokens each prompt had.
        output_tokens: how many tokens each repetition generated.
        create_seconds: until the engine stood.
        first_token_seconds: from the prompt to the first token.
        peak_bytes: the program's own word on its peak memory.
        version: the engine's own, "" where it says none.
        facts: further words of the program, for the record.
    """

    prefill: tuple[float, ...] = ()
    decode: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    create_seconds: float | None = None
    first_token_seconds: float | None = None
    peak_bytes: int | None = None
    version: str = ""
    facts: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether both rates are known: without them the program has measured nothing."""
        return bool(self.prefill and self.decode)


def rates(values: Iterable[object]) -> tuple[float, ...]:
    """The values that can be tokens a second, at most `MOST_RUNS` of them."""
    found: list[float] = []
    for value in values:
        rate = number(value)
        if rate is not None and 0 < rate < _HIGHEST_RATE:
            found.append(rate)
        if len(found) == MOST_RUNS:
            break
    return tuple(found)


def number(value: object) -> float | None:
    """A finite number that is not negative, from a number or its text; None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and found >= 0 else None


def count(value: object) -> int | None:
    """A whole number below 2**53; None for all else."""
    found = number(value)
    return int(found) if found is not None and found < 1 << 53 else None


def short(value: object) -> JsonValue:
    """A value for the record: a number, a truth, or a text that is cut."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) and abs(value) < 1 << 63 else None
    return str(value)[:MOST_TEXT]
