"""A run of a program as a record, beside those of browsers and of this machine's engines."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.host import harness_version
from harness.recording import tiers_of
from harness.verdict import judge
from results.accuracy import judge_prediction
from results.record import (
    ArtifactRecord,
    Conditions,
    DeviceRecord,
    Measurement,
    MemoryUse,
    Phase,
    Prediction,
    Record,
    Spread,
    WorkloadRecord,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.android.binary.kinds import Parameters
    from harness.devices.android.binary.model_file import ModelFile
    from harness.devices.android.binary.run import BinaryResult
    from harness.devices.base import HostFacts
    from harness.evidence import Timeline
    from harness.profiles import Profile

PREDICTION = Prediction(
    verdict="unknown",
    reason="the probe runs in a page, and says nothing of a program outside of it",
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial of a program, before it is known what comes of it.

    Attributes:
        run_id: the run that it belongs to.
        trial_id: its own.
        started_at: when it began.
        profile: of the phone.
        host: what the harness can say of the phone.
        model: what is loaded.
        runtime: id of the runtime.
        parameters: how the program is run.
        at_rest: whether nothing else kept the phone busy just before.
    """

    run_id: str
    trial_id: str
    started_at: datetime
    profile: Profile
    host: HostFacts
    model: ModelFile
    runtime: str
    parameters: Parameters
    at_rest: bool | None = None


def new_trial_id() -> str:
    """A name that no other trial has."""
    return uuid.uuid4().hex


def now() -> datetime:
    """The time that records carry."""
    return datetime.now(UTC)


def make_record(
    trial: Trial, timeline: Timeline, result: BinaryResult | None, files: dict[str, str]
) -> Record:
    """The record of a trial.

    Args:
        trial: what was asked for.
        timeline: all evidence.
        result: of the run; None: it was not begun.
        files: raw evidence, by name; paths relative to the results folder.
    """
    judged = judge(timeline.items)
    measurement = measurement_of(result, trial.model.total_bytes) if result else None
    tiers = tiers_of(measurement, judged.verdict)
    judgement, why = judge_prediction(PREDICTION, judged.verdict, tiers)
    return Record(
        trial_id=trial.trial_id,
        run_id=trial.run_id,
        started_at=trial.started_at,
        device=_device(trial),
        workload=WorkloadRecord(
            model=trial.model.model,
            quantisation=trial.model.quantisation,
            runtime=trial.runtime,
            prompt_tokens=trial.parameters.prompt_tokens,
            output_tokens=trial.parameters.output_tokens,
            # Another number of threads is another workload: their figures are never mixed.
            variant=trial.parameters.label,
        ),
        artifact=ArtifactRecord(
            key=trial.model.key,
            kind="real",
            format=trial.model.format,
            total_bytes=trial.model.total_bytes,
            sha256=trial.model.sha256,
        ),
        conditions=_conditions(trial, result),
        probe=None,
        prediction=PREDICTION,
        measurement=measurement,
        tiers=tiers,
        verdict=judged.verdict,
        cause=judged.cause,
        explanation=judged.explanation,
        evidence=timeline.items,
        judgement=judgement,
        judgement_reason=why,
        files=files,
    )


def measurement_of(result: BinaryResult, model_bytes: int) -> Measurement:
    """What a run measured, as far as it came.

    A rate is the median over the repetitions; `decode_ms` has one value a repetition, each the mean
    over its tokens, so its spread is that of repetitions and not of tokens.
    """
    figures = result.figures
    prefill, decode = (
        Spread.of(figures.prefill),
        Spread.of([1000 / rate for rate in figures.decode]),
    )
    return Measurement(
        create_seconds=figures.create_seconds,
        first_token_seconds=figures.first_token_seconds,
        prompt_tokens=figures.prompt_tokens,
        prefill_tokens_per_s=prefill.median if prefill else None,
        decode_ms=decode,
        phases=(Phase(name="run", wall_seconds=result.wall_seconds),),
        memory=MemoryUse(processes={"engine": result.peak_bytes} if result.peak_bytes else {}),
        wall_seconds=result.wall_seconds,
        bytes_loaded=model_bytes if figures.complete else 0,
    )


def _device(trial: Trial) -> DeviceRecord:
    return DeviceRecord(
        profile=trial.profile.id,
        name=trial.profile.name,
        kind=trial.profile.kind,
        host=trial.host.host,
        emulated=trial.host.emulated,
        memory_limit_bytes=trial.profile.limits.memory,
        cpu_limit=trial.profile.limits.cpus,
        limiter=trial.host.limiter,
    )


def _conditions(trial: Trial, result: BinaryResult | None) -> Conditions:
    host = trial.host
    return Conditions(
        harness_version=harness_version(),
        # No browser takes part; the phone's own is among the facts.
        browser="",
        browser_version="",
        runtime_version=(result.figures.version if result else "") or "unknown",
        threads=trial.parameters.threads,
        operating_system=host.operating_system,
        cpu=host.cpu,
        cores=host.cores,
        memory_bytes=host.memory_bytes,
        load_average=host.load_average,
        host_at_rest=trial.at_rest,
        temperature_celsius=host.temperature_celsius,
        facts={**host.extra, "native": _native(trial, result)},
    )


def _native(trial: Trial, result: BinaryResult | None) -> dict[str, JsonValue]:
    """How the program was run: on a phone's processors this decides as much as the phone."""
    parameters: dict[str, JsonValue] = dict(asdict(trial.parameters))
    if result is None:
        return parameters
    return {
        **parameters,
        "command": result.command[:1000],
        "linked": result.linked,
        "exit_code": result.exit_code,
        "least_available_bytes": result.least_available_bytes,
        "prefill_samples": list(result.figures.prefill),
        "decode_samples": list(result.figures.decode),
        "said": result.figures.facts,
    }


def keep_curve(result: BinaryResult, path: Path) -> None:
    """Keep the memory curve beside the record, as those of browsers are."""
    curve = [
        {"at_seconds": s.at_seconds, "processes": s.processes, "group_bytes": s.group_bytes}
        for s in result.curve
    ]
    path.write_text(json.dumps(curve), encoding="utf-8")
