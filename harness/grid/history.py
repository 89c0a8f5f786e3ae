"""What a store knows of a grid: what is done, how long it took, and what came out."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Final

from harness.grid.plan import Cell
from harness.models import Workload
from results.record import Evidence, Kind, Record, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.grid.plan import GridTrial

# Faults of the lab's own say nothing of the device: such a trial is still to be run.
NOT_DONE: Final = frozenset({Verdict.INFRA, Verdict.CASCADE})

# Two browsers that start and end, the waits for rest, and the probe: what a trial takes beside its
# load, on two free cores.
BESIDE_SECONDS: Final = 6.0

# What explains a verdict; the rest of the evidence is for those who look into one trial.
TELLING: Final = frozenset(
    {
        Kind.BROWSER_GONE,
        Kind.CHILD_GONE,
        Kind.DEADLINE,
        Kind.DEVICE_LOST,
        Kind.DONE,
        Kind.ENGINE_ERROR,
        Kind.EXIT_RECORD,
        Kind.LAB_ERROR,
        Kind.LMK_KILL,
        Kind.OOM_KILL,
        Kind.PHASE,
        Kind.RENDERER_GONE,
        Kind.UNSUPPORTED,
        Kind.V8_OOM,
        Kind.VALIDATION,
    }
)
MOST_EVIDENCE: Final = 24
MOST_TEXT: Final = 300


def cell_of(record: Record) -> Cell:
    """The cell that a record is of."""
    return Cell(record.device.profile, Workload(**record.workload.model_dump()))


def done(records: Iterable[Record]) -> Counter[Cell]:
    """How many trials of each cell have a result."""
    return Counter(cell_of(r) for r in records if r.verdict not in NOT_DONE)


def durations(records: Iterable[Record]) -> dict[Cell, float]:
    """Seconds that a trial of each cell took, as far as its records tell: medians."""
    found: dict[Cell, list[float]] = defaultdict(list)
    for record in records:
        if record.verdict not in NOT_DONE:
            load = record.measurement.wall_seconds if record.measurement else 0.0
            found[cell_of(record)].append(BESIDE_SECONDS + load)
    return {cell: median(seconds) for cell, seconds in found.items()}


def estimated(trials: Iterable[GridTrial], known: Mapping[Cell, float]) -> list[GridTrial]:
    """The trials with what the history says they take, where it says anything."""
    return [replace(t, seconds=known.get(t.cell, t.seconds)) for t in trials]


def compact(record: Record) -> Record:
    """A record for a file that is kept with the code: without raw files, and what names a host.

    Of the evidence stays what explains the verdict. Everything that a calibration or an evaluation
    reads (probe report, prediction, measurement, verdict) stays as it is.
    """
    telling = [_short(item) for item in record.evidence if item.kind in TELLING]
    return record.model_copy(
        update={
            "files": {},
            "evidence": tuple(telling[:MOST_EVIDENCE]),
            "device": record.device.model_copy(update={"host": "lab"}),
            "conditions": record.conditions.model_copy(update={"facts": {}}),
        }
    )


def _short(item: Evidence) -> Evidence:
    detail = {
        key: value[:MOST_TEXT] if isinstance(value, str) else value
        for key, value in item.detail.items()
        if not isinstance(value, dict | list)
    }
    return item.model_copy(update={"detail": detail})


def json_lines(records: Iterable[Record]) -> Iterable[str]:
    """Each record on a line, its keys sorted so that two exports of one store are equal."""
    for record in sorted(records, key=lambda r: (r.started_at, r.trial_id)):
        data = compact(record).model_dump(mode="json")
        yield json.dumps(data, sort_keys=True, separators=(",", ":"))
