"""Records of A and B in turns, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from results.record import Spread
from results.regressions.ab import Mark, marked
from tests.results.records import record

if TYPE_CHECKING:
    from results.record import Record

START = datetime(2026, 1, 2, tzinfo=UTC)


def side(letter: Any, number: int, factor: float = 1.0, *, version: str, **changes: Any) -> Record:
    """A trial of one side in one round; `changes` are parts of the record."""
    whole = record(f"{letter}{number}", **changes)
    measured = whole.measurement
    if measured is not None:
        measured = measured.model_copy(
            update={
                "create_seconds": 2.0 * factor,
                "first_token_seconds": 1.0 * factor,
                "prefill_tokens_per_s": 50.0 / factor,
                "decode_ms": Spread(n=3, median=125.0 * factor, p10=1.0, p90=2.0),
            }
        )
    whole = whole.model_copy(
        update={
            "started_at": START + timedelta(minutes=2 * number + (letter == "B")),
            "measurement": measured,
            "conditions": whole.conditions.model_copy(update={"browser_version": version}),
        }
    )
    return marked(whole, Mark(by="browser", side=letter, round=number))


def rounds(
    n: int, factor: float, *, a: str = "156.0.1", b: str = "157.0.1", profile: str = "desktop"
) -> list[Record]:
    """Rounds in which B takes `factor` times as long as A, each slower than the one before."""
    device = record().device.model_copy(update={"profile": profile})
    return [
        trial
        for number in range(n)
        for trial in (
            side("A", number, 1.1**number, version=a, device=device),
            side("B", number, factor * 1.1**number, version=b, device=device),
        )
    ]
