"""How long trials take: drawn from those that were measured, class by class.

No phone has been measured yet: what is drawn are loads on stand-ins, Linux with one or two cores,
or half of one, and a GPU in software. What the simulation says of *times* is as good as that; what
it says of *order, health and losses* depends little on it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import UserError
from results.record import Record

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

MEASURED: Final = Path(__file__).parents[1] / "trials" / "lab.jsonl"
# A class with fewer loads says little of how they differ.
_LEAST_LOADS: Final = 4


@dataclass(frozen=True, slots=True)
class Load:
    """One measured load.

    Attributes:
        seconds: from the opened page to the last token, without what a network would take.
        file_bytes: how much went to the device for it.
    """

    seconds: float
    file_bytes: int


def measured_loads(path: Path = MEASURED) -> dict[str, list[Load]]:
    """The loads of each device class with enough of them, in the order of the file.

    Raises:
        UserError: the file is not there, or has no class with enough loads.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}", "give a file of records, one a line") from None
    found = _by_class(Record.model_validate_json(line) for line in lines)
    enough = {name: loads for name, loads in found.items() if len(loads) >= _LEAST_LOADS}
    if not enough:
        raise UserError(
            f"{path}: no device class has {_LEAST_LOADS} loads that took their time",
            "give a file with more trials",
        )
    return enough


def _by_class(records: Iterable[Record]) -> dict[str, list[Load]]:
    found: dict[str, list[Load]] = defaultdict(list)
    for record in records:
        measured = record.measurement
        # A trial that was refused before it began took no time on the device.
        if measured is None or measured.wall_seconds is None:
            continue
        found[record.device.profile].append(Load(measured.wall_seconds, measured.bytes_loaded or 0))
    return dict(found)


def draw(loads: list[Load], count: int, chance: random.Random) -> list[Load]:
    """So many loads of one class, each as likely as the other."""
    return chance.choices(loads, k=count)
