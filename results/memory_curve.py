"""The memory curve of a trial: what each kind of process held, sample by sample.

The harness keeps it as a file beside the record (`memory-curve.json`): it is too long to be part of
it. What is read here may be damaged or come from elsewhere: anything that is not a sample is left
out, and a file that is no curve gives no samples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from results.record import Record

FILE_NAME: Final = "memory-curve.json"

PROCESSES: Final = ("renderer", "gpu", "engine", "browser", "utility", "zygote")
"""The kinds of process that the harness tells apart; whatever else a file names is `other`."""

OTHER: Final = "other"

MODEL_PROCESSES: Final = ("renderer", "gpu", "engine")
"""Those that hold the model, as `MemoryUse.engine_bytes` has them."""

KEPT: Final = 200
"""How many samples are enough where a curve is published: a chart has not many more columns."""

# The harness keeps 20,000 samples at most, each of some 200 bytes.
_LARGEST_FILE: Final = 64 << 20
_MOST_BYTES: Final = 1 << 60
_MOST_SECONDS: Final = 1e7


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory at one moment.

    Attributes:
        at_seconds: since the start of the trial.
        processes: bytes of the largest process of each kind.
        group_bytes: of the whole limited group, page cache included; `None` without a group.
    """

    at_seconds: float
    processes: dict[str, int]
    group_bytes: int | None = None

    @property
    def model_bytes(self) -> int:
        """What the processes that hold the model have together."""
        return sum(self.processes.get(kind, 0) for kind in MODEL_PROCESSES)


def curve_of(record: Record, results: Path) -> list[Sample]:
    """The memory curve of a record, oldest sample first; empty where there is none to be read.

    Args:
        record: names the file, relative to the results folder. A name that leads out of the folder
            is not followed.
        results: the results folder.
    """
    name = record.files.get(FILE_NAME)
    return read_curve(results / name, inside=results) if name else []


def read_curve(path: Path, *, inside: Path) -> list[Sample]:
    """The samples in a file, by time, one a moment; empty where it cannot be read."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(inside.resolve()) or real.stat().st_size > _LARGEST_FILE:
            return []
        found = json.loads(real.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    samples = [_sample(item) for item in found] if isinstance(found, list) else []
    by_time = {sample.at_seconds: sample for sample in samples if sample}
    return [by_time[at] for at in sorted(by_time)]


def thin(samples: Sequence[Sample], kept: int = KEPT) -> list[Sample]:
    """At most `kept` samples that show the same curve: the first, the last and every peak stay.

    Of the rest, the highest of each stretch of equally many samples stays, so that no ascent is
    lost between two samples that happen to be low.

    Args:
        samples: by time.
        kept: not fewer than the eleven that may have to stay.
    """
    if len(samples) <= kept:
        return list(samples)
    places = range(len(samples))
    peaks = [
        max(places, key=lambda place: samples[place].model_bytes),
        max(places, key=lambda place: samples[place].group_bytes or 0),
    ]
    for kind in (*PROCESSES, OTHER):
        sizes = [sample.processes.get(kind, 0) for sample in samples]
        peaks.append(sizes.index(max(sizes)))
    chosen = {places[0], places[-1], *peaks}
    stretches = kept - len(chosen)
    for number in range(stretches):
        first, last = (len(places) * (number + end) // stretches for end in (0, 1))
        chosen.add(max(places[first:last], key=lambda place: samples[place].model_bytes))
    return [samples[place] for place in sorted(chosen)]


def _sample(item: object) -> Sample | None:
    if not isinstance(item, dict):
        return None
    at, found = item.get("at_seconds"), item.get("processes")
    if isinstance(at, bool) or not isinstance(at, int | float) or not isinstance(found, dict):
        return None
    if not 0 <= at <= _MOST_SECONDS:
        return None
    processes: dict[str, int] = {}
    for kind, size in found.items():
        if (known := _bytes(size)) is not None:
            name = kind if kind in PROCESSES else OTHER
            processes[name] = max(processes.get(name, 0), known)
    # To the microsecond: closer than that, two would be one point in a database.
    return Sample(round(float(at), 6), processes, _bytes(item.get("group_bytes")))


def _bytes(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_BYTES:
        return value
    return None
