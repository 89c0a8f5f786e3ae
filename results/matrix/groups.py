"""The newest trials of each cell that are alike: what a cell rests on.

Of the newest trial everything is read, and of the others only what a cell counts or takes the
median of: with all columns of all of them, reading would be most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from results.figures import cell_text
from results.query import NO_STATEMENT, latest_of_cells

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.figures import CellKey, Figures
    from results.store import Store

MOST_TRIALS: Final = 30
"""So many trials of a cell are looked at; what is older says little of today's versions."""

SAME: Final = (
    "browser",
    "browser_version",
    "runtime_version",
    "artifact_key",
    "prompt_tokens",
    "output_tokens",
)
"""What has to be the same for two trials of a cell to be alike."""


class Outcome(NamedTuple):
    """One trial, as far as a cell counts it or takes the median of it."""

    verdict: str
    cause: str
    tier: str | None
    judgement: str
    started_at: str
    host_at_rest: int | None
    temperature_celsius: float | None
    throttled_seconds: float | None
    load_seconds: float | None
    first_token_seconds: float | None
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    peak_bytes: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """A cell: its newest trial, and the outcomes of those that are like it, the newest first."""

    key: CellKey
    newest: Figures
    trials: list[Outcome]


def groups(store: Store) -> Iterator[Group]:
    """All cells that have a trial which says something of the device.

    Raises:
        StoreError: the store cannot be read.
    """
    for cell, (newest,) in latest_of_cells(store, 1, of_device=True):
        # At once, while the pages of the cell are in memory. What a run adds meanwhile is newer
        # than the newest, and left for the next time.
        same = (getattr(newest, name) for name in SAME)
        rows = store.read(_ALIKE, (cell_text(cell), newest.started_at, MOST_TRIALS, *same))
        if rows:
            yield Group(cell, newest, list(map(Outcome._make, rows)))


_COUNTED: Final = ", ".join(Outcome._fields)
_ALIKE: Final = (
    f"SELECT {_COUNTED} FROM (SELECT {_COUNTED}, {', '.join(SAME)} FROM figures"  # noqa: S608 - our own
    " WHERE cell_id = (SELECT cell_id FROM cells WHERE key = ?) AND started_at <= ?"
    f" AND verdict NOT IN {NO_STATEMENT} ORDER BY started_at DESC, trial_id DESC LIMIT ?)"
    f" WHERE {' AND '.join(f'{name} IS ?' for name in SAME)}"
)
