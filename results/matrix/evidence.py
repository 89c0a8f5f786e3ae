"""The evidence behind a cell, as it can be published: what was seen, and nothing of the lab.

A record is the lab's own: it names the host, its folders, and everything the device said of itself.
What is published is made anew from the parts that say something of the device, and free text
passes through a `Redactor`.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, RootModel

from results.matrix.names import file_name_of
from results.memory_curve import thin
from results.record import (
    ArtifactRecord,
    Bytes,
    Conditions,
    Evidence,
    Judgement,
    Measurement,
    Part,
    Prediction,
    Tiers,
    Verdict,
    WorkloadRecord,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from results.matrix.redact import Redactor
    from results.memory_curve import Sample
    from results.record import Record

EVIDENCE_VERSION: Final = 1

# An engine that prints a line a token would make files of megabytes.
_MOST_EVIDENCE: Final = 400


class PublishedDevice(Part):
    """Which device, and how far it is the real thing."""

    profile: str
    name: str
    kind: str
    emulated: bool
    memory_limit_bytes: Bytes | None
    cpu_limit: float | None
    limiter: str | None


class PublishedTrial(Part):
    """One trial as published: `evidence/TRIAL.json`."""

    schema_version: Literal[1] = EVIDENCE_VERSION
    trial_id: str
    started_at: datetime
    device: PublishedDevice
    workload: WorkloadRecord
    artifact: ArtifactRecord | None
    conditions: Conditions
    prediction: Prediction
    measurement: Measurement | None
    tiers: Tiers
    verdict: Verdict
    cause: str
    explanation: str
    judgement: Judgement
    judgement_reason: str
    evidence: tuple[Evidence, ...]
    evidence_left_out: int = Field(description="observations in the middle that are not shown")
    memory_curve: str | None = Field(
        description="the file with the memory curve, beside this one; null where there is none"
    )


class PublishedSample(Part):
    """Resident memory at one moment."""

    at_seconds: float = Field(description="since the start of the trial")
    processes: dict[str, int] = Field(description="bytes of the largest process of each kind")
    group_bytes: int | None = Field(description="of the limited group, page cache included")


class PublishedCurve(RootModel[tuple[PublishedSample, ...]]):
    """The memory curve of a trial, by time: `evidence/TRIAL.memory.json`.

    Thinned; the first sample, the last and every peak are kept.
    """


def published(record: Record, redactor: Redactor, *, with_curve: bool) -> PublishedTrial:
    """What of a record can be published.

    Args:
        record: the lab's own record.
        redactor: takes private things out of free text.
        with_curve: whether the memory curve is published beside it.
    """
    device, shown = record.device, redactor.text
    kept, left_out = _middle_left_out(record.evidence)
    return PublishedTrial(
        trial_id=record.trial_id,
        started_at=record.started_at,
        device=PublishedDevice(
            profile=device.profile,
            name=device.name,
            kind=device.kind,
            emulated=device.emulated,
            memory_limit_bytes=device.memory_limit_bytes,
            cpu_limit=device.cpu_limit,
            limiter=device.limiter,
        ),
        workload=record.workload,
        artifact=record.artifact,
        # The facts hold whatever the device said of itself: serial numbers, accounts, networks.
        conditions=record.conditions.model_copy(update={"facts": {}}),
        prediction=record.prediction.model_copy(update={"reason": shown(record.prediction.reason)}),
        measurement=_measurement(record.measurement, redactor),
        tiers=record.tiers,
        verdict=record.verdict,
        cause=record.cause,
        explanation=shown(record.explanation),
        judgement=record.judgement,
        judgement_reason=shown(record.judgement_reason),
        evidence=tuple(_evidence(item, redactor) for item in kept),
        evidence_left_out=left_out,
        memory_curve=curve_name(record.trial_id) if with_curve else None,
    )


def published_curve(samples: Sequence[Sample]) -> PublishedCurve:
    """A memory curve, thinned."""
    return PublishedCurve(
        tuple(
            PublishedSample(
                at_seconds=sample.at_seconds,
                processes=sample.processes,
                group_bytes=sample.group_bytes,
            )
            for sample in thin(samples)
        )
    )


def curve_name(trial_id: str) -> str:
    """The file of a trial's memory curve, beside that of its evidence."""
    return f"{file_name_of(trial_id)}.memory.json"


def _evidence(item: Evidence, redactor: Redactor) -> Evidence:
    detail = redactor.value(item.detail)
    return item.model_copy(update={"detail": detail})


def _measurement(measurement: Measurement | None, redactor: Redactor) -> Measurement | None:
    if measurement is None:
        return None
    phases = tuple(
        phase.model_copy(update={"name": redactor.text(phase.name)}) for phase in measurement.phases
    )
    offline = measurement.offline
    if offline is not None:
        offline = offline.model_copy(update={"reason": redactor.text(offline.reason)})
    return measurement.model_copy(update={"phases": phases, "offline": offline})


def _middle_left_out(items: Sequence[Evidence]) -> tuple[Sequence[Evidence], int]:
    """The first and the last observations: how it began and how it ended."""
    if len(items) <= _MOST_EVIDENCE:
        return items, 0
    half = _MOST_EVIDENCE // 2
    return (*items[:half], *items[-half:]), len(items) - 2 * half
