"""Figures of trials for tests of comparisons: what is the same for all, and what differs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from results.figures import CellKey, Figures
from results.query import Trial
from tests.results.records import record

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

CELL = CellKey.of(record())
GOOD = Figures.of(record())._replace(
    load_seconds=4.0,
    first_token_seconds=1.0,
    prefill_tokens_per_s=50.0,
    decode_tokens_per_s=8.0,
    peak_bytes=4.5e9,
)


def figures(number: int = 0, *, day: int = 1, factor: float = 1.0, **changes: Any) -> Figures:
    """A trial that took `factor` times as long as another; later with a higher number and day."""
    return GOOD._replace(
        **{
            "trial_id": f"{day}-{number}",
            "started_at": f"2026-01-{day:02}T00:00:{number:02}+00:00",
            "load_seconds": 4.0 * factor,
            "first_token_seconds": 1.0 * factor,
            "prefill_tokens_per_s": 50.0 / factor,
            "decode_tokens_per_s": 8.0 / factor,
            **changes,
        }
    )


def failed(number: int = 0, *, verdict: str = "oom", day: int = 1, **changes: Any) -> Figures:
    """A trial without figures."""
    nothing = dict.fromkeys(
        ("load_seconds", "first_token_seconds", "prefill_tokens_per_s", "decode_tokens_per_s")
    )
    return figures(number, day=day, verdict=verdict, **{**nothing, **changes})


def several(n: int, *, day: int = 1, factor: float = 1.0, **changes: Any) -> list[Figures]:
    """Trials whose figures differ by a few thousandths, the newest first."""
    spread = [factor * (1 + 0.002 * (number % 3 - 1)) for number in range(n)]
    return [
        figures(number, day=day, factor=spread[number], **changes) for number in reversed(range(n))
    ]


def noisy(source: random.Random, n: int, sigma: float, factor: float = 1.0) -> list[Figures]:
    """Trials with noise of that size on every figure."""
    return [figures(i, factor=factor * math.exp(source.gauss(0, sigma))) for i in range(n)]


def in_cell(*groups: Iterable[Figures], cell: CellKey = CELL) -> list[Trial]:
    """Trials of one cell as the store gives them: the newest first."""
    rows = [row for group in groups for row in group]
    return [Trial(cell, row) for row in sorted(rows, key=lambda r: r.started_at, reverse=True)]
