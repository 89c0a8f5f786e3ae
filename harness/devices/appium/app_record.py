"""The record of one prompt in one native app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.host import harness_version
from harness.recording import device_record, tiers_of
from harness.verdict import judge
from results.accuracy import judge_prediction
from results.record import Conditions, Prediction, Record, WorkloadRecord

if TYPE_CHECKING:
    from datetime import datetime

    from harness.devices.appium.app import App, AppModel
    from harness.devices.appium.measuring import Measured
    from harness.devices.base import Device, HostFacts
    from harness.evidence import Timeline

_NOT_ASKED: Final = Prediction(
    verdict="unknown", reason="native apps are measured, and not predicted"
)
# Where the bytes of the model come from: the app has its own way.
SOURCE: Final = "app"


@dataclass(frozen=True, slots=True)
class Question:
    """What an app is asked.

    Attributes:
        prompt: the text.
        prompt_tokens: how many tokens that is meant to be.
        output_tokens: how many are hoped for; an app ends when it likes.
        model: the label of one of the app's models; `None` for its first.
    """

    prompt: str
    prompt_tokens: int
    output_tokens: int
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """On what, and with what, an app was asked.

    `version` is the app's; `at_rest` says whether nothing else kept the device busy before.
    """

    device: Device
    host: HostFacts
    app: App
    model: AppModel
    version: str
    question: Question
    at_rest: bool | None = None


def workload_of(app: App, model: AppModel, question: Question) -> WorkloadRecord:
    """What is asked of a device, as records have it."""
    return WorkloadRecord(
        model=model.model,
        quantisation=model.quantisation,
        runtime=app.runtime,
        prompt_tokens=app.prompt_tokens or question.prompt_tokens,
        output_tokens=app.output_tokens or question.output_tokens,
        source=SOURCE,
        variant=model.backend,
    )


def record_of(
    what: Circumstances,
    timeline: Timeline,
    measured: Measured | None,
    *,
    trial_id: str,
    run_id: str,
    started_at: datetime,
    files: dict[str, str],
) -> Record:
    """The record. The app stands where a browser does in other records."""
    host, app, model = what.host, what.app, what.model
    measurement = measured.measurement if measured else None
    judged = judge(timeline.items)
    tiers = tiers_of(measurement, judged.verdict)
    judgement, why = judge_prediction(_NOT_ASKED, judged.verdict, tiers)
    return Record(
        trial_id=trial_id,
        run_id=run_id,
        started_at=started_at,
        device=device_record(what.device, host),
        workload=workload_of(app, model, what.question),
        artifact=None,
        conditions=Conditions(
            harness_version=harness_version(),
            browser=app.name,
            browser_version=what.version,
            runtime_version=what.version,
            operating_system=host.operating_system,
            cpu=host.cpu,
            cores=host.cores,
            memory_bytes=host.memory_bytes,
            load_average=host.load_average,
            host_at_rest=what.at_rest,
            temperature_celsius=host.temperature_celsius,
            facts={
                **host.extra,
                "app": app.package,
                "app_model": model.label,
                "app_unverified": list(app.unverified),
                "figures_by": dict(measured.told_by) if measured else {},
            },
        ),
        probe=None,
        prediction=_NOT_ASKED,
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
