"""One trial: one probe and one full load of one workload on one device, judged and recorded.

    gates -> probe -> prediction -> full load -> evidence -> verdict -> record

Read `run_trial` from top to bottom; every step is a function of its own.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.evidence import DEATHS, Timeline
from harness.host import harness_version
from harness.load import Deadlines, LoadLog, full_load
from harness.models import find_model
from harness.probe.predict import MemoryBudget, predict
from harness.probe.run import ProbeFailedError, run_probe
from harness.runtimes import find_runtime
from harness.verdict import judge
from results.accuracy import judge_prediction
from results.record import (
    ArtifactRecord,
    Conditions,
    DeviceRecord,
    Kind,
    Measurement,
    MemoryUse,
    Prediction,
    Record,
    Source,
    Spread,
    Tiers,
    Verdict,
    WorkloadRecord,
)
from results.tiers import Tier, decode_tier, lower, prefill_tier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.base import Device, HostFacts, Session
    from harness.models import Architecture, Workload
    from harness.probe.report import Adapter, ProbeReport
    from harness.profiles import Profile
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from harness.weights.options import OnnxOptions

    ArtifactSource = Callable[[OnnxOptions], Artifact]


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What is the same for all trials of a run.

    Attributes:
        run_id: the run that the trial belongs to.
        results: the results folder; raw evidence goes to `trials/TRIAL_ID/` below it.
        deadlines: how long the page may be silent.
        probe_budget_ms: how long the probe may measure.
        seed: decides on the probe's data.
    """

    run_id: str
    results: Path
    deadlines: Deadlines = field(default_factory=Deadlines)
    probe_budget_ms: int = 4000
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where and on what one trial runs."""

    device: Device
    host: HostFacts
    workload: Workload
    server: Server
    settings: TrialSettings
    folder: Path
    progress: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What is known before anything is loaded. With an `obstacle` nothing will be."""

    prediction: Prediction
    report: ProbeReport | None = None
    artifact: Artifact | None = None
    obstacle: Kind | None = None


async def run_trial(
    device: Device,
    workload: Workload,
    *,
    artifact_source: ArtifactSource,
    server: Server,
    settings: TrialSettings,
    progress: Callable[[str], None] = lambda _: None,
) -> Record:
    """Run one trial and return its record; the caller stores it.

    Args:
        device: the device, leased by the caller.
        workload: what is asked of it.
        artifact_source: gives the model file for the options that the runtime chooses.
        server: serves the trial page and the artifact.
        settings: what is the same for all trials of a run.
        progress: told in words what is going on.

    Raises:
        UserError: something that the user must mend first (an artifact that cannot be made, a
            browser that does not start, limits that are not permitted).
    """
    trial_id = uuid.uuid4().hex
    started_at = datetime.now(UTC)
    folder = settings.results / "trials" / trial_id
    folder.mkdir(parents=True)
    host = await device.facts()
    bench = _Bench(device, host, workload, server, settings, folder, progress)

    foreseen = await _foresee(bench, artifact_source)
    progress(f"predicted: {foreseen.prediction.verdict} ({foreseen.prediction.reason})")

    timeline = Timeline()
    measurement = None
    if foreseen.obstacle is Kind.UNSUPPORTED:
        timeline.add(Source.HARNESS, Kind.UNSUPPORTED, reason=foreseen.prediction.reason)
    elif foreseen.obstacle:
        timeline.add(Source.HARNESS, foreseen.obstacle, message=foreseen.prediction.reason)
    else:
        measurement = await _load(bench, foreseen, timeline)

    judged = judge(timeline.items)
    progress(f"verdict: {judged.verdict} ({judged.explanation})")
    tiers = _tiers(measurement, judged.verdict)
    judgement, why = judge_prediction(foreseen.prediction, judged.verdict, tiers)
    return Record(
        trial_id=trial_id,
        run_id=settings.run_id,
        started_at=started_at,
        device=_device_record(device, host),
        workload=WorkloadRecord(**asdict(workload)),
        artifact=_artifact_record(foreseen.artifact),
        conditions=_conditions(host, workload, foreseen.report),
        probe=foreseen.report.model_dump(mode="json") if foreseen.report else None,
        prediction=foreseen.prediction,
        measurement=measurement,
        tiers=tiers,
        verdict=judged.verdict,
        cause=judged.cause,
        explanation=judged.explanation,
        evidence=timeline.items,
        judgement=judgement,
        judgement_reason=why,
        files=_files(folder, settings.results),
    )


async def _foresee(bench: _Bench, artifact_source: ArtifactSource) -> Foreseen:
    """Gates, probe and prediction: everything that is known before the load."""
    device, host, workload = bench.device, bench.host, bench.workload
    for gate in await device.gates():
        if not gate.passed:
            closed = f"{gate.name} is {gate.observed}, the limit is {gate.limit}"
            return Foreseen(_unknown(closed), obstacle=Kind.LAB_ERROR)
    if too_old := version_gate(device.profile, host):
        return Foreseen(_unsupported(too_old), obstacle=Kind.UNSUPPORTED)
    try:
        report = await run_probe(
            device,
            bench.server,
            bench.folder / "probe",
            budget_ms=bench.settings.probe_budget_ms,
            seed=bench.settings.seed,
            progress=bench.progress,
        )
    except ProbeFailedError as error:
        return Foreseen(_unknown(f"the probe failed: {error}"), obstacle=Kind.LAB_ERROR)
    runtime, model = find_runtime(workload.runtime), find_model(workload.model)
    if reason := runtime.unsupported(workload.quantisation, report):
        return Foreseen(_unsupported(reason), report, obstacle=Kind.UNSUPPORTED)
    artifact = artifact_source(runtime.artifact_options(workload.quantisation, report))
    _check_shape(artifact, model)
    cost = runtime.cost(workload.quantisation, artifact, report)
    return Foreseen(
        predict(report, model, workload, cost, memory_budget(device.profile, host)),
        report,
        artifact,
    )


async def _load(bench: _Bench, foreseen: Foreseen, timeline: Timeline) -> Measurement:
    """The full load in a fresh browser, and what it measured."""
    if foreseen.artifact is None or foreseen.report is None:
        raise ValueError("there is nothing to load")
    workload = bench.workload
    runtime = find_runtime(workload.runtime)
    base = bench.server.publish(foreseen.artifact.key, foreseen.artifact.directory)
    vocabulary = foreseen.artifact.shape["vocabulary"]
    job = {
        "workload": str(workload),
        "adapter": runtime.adapter,
        "config": runtime.config(foreseen.artifact, base, runtime.threads(foreseen.report)),
        "prompt": prompt_ids(workload.prompt_tokens, vocabulary),
        "outputTokens": workload.output_tokens,
    }
    async with bench.device.session(timeline, bench.folder) as session:
        log = await full_load(
            session,
            timeline,
            url=f"{bench.server.url}/page/trial.html",
            job=job,
            deadlines=bench.settings.deadlines,
            screenshot=bench.folder / "screenshot.png",
            progress=bench.progress,
        )
        _keep_curve(session, bench.folder / "memory-curve.json")
        return _measurement(session, timeline, log, workload)


def _check_shape(artifact: Artifact, model: Architecture) -> None:
    """A user's own file must be the model that it is said to be, or the prediction is another's.

    Raises:
        UserError: a dimension differs.
    """
    claimed = {
        "layers": model.layers,
        "kv_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocabulary": model.vocabulary,
    }
    for name, value in claimed.items():
        if artifact.shape[name] != value:
            raise UserError(
                f"{artifact.entry_path} is not {model.id}: it has {name} = {artifact.shape[name]},"
                f" {model.id} has {value}",
                "name the right model with --model; `tierlab models` shows the catalogue",
            )


def version_gate(profile: Profile, host: HostFacts) -> str | None:
    """Why the browser is too old for the profile, or `None`."""
    major = host.browser_version.partition(".")[0]
    least = profile.browser.minimum_version
    if not major.isdigit():
        return f"{host.browser} does not say its version"
    if int(major) < least:
        return f"{host.browser} {host.browser_version} is older than version {least}"
    return None


def memory_budget(profile: Profile, host: HostFacts) -> MemoryBudget:
    """How much memory a browser may use on this device, and who says so."""
    if (limit := profile.limits.memory) is not None:
        return MemoryBudget(limit_bytes=limit, source="the profile's memory limit")
    return MemoryBudget(limit_bytes=host.memory_bytes, source="the host's memory")


def prompt_ids(count: int, vocabulary: int) -> list[int]:
    """A prompt of distinct, repeatable token ids; 7 is prime to every vocabulary size here."""
    return [7 * position % vocabulary for position in range(1, count + 1)]


def _unknown(reason: str) -> Prediction:
    return Prediction(verdict="unknown", reason=reason)


def _unsupported(reason: str) -> Prediction:
    return Prediction(verdict="unsupported", reason=reason, tier=Tier.UNSUPPORTED)


def _measurement(
    session: Session, timeline: Timeline, log: LoadLog, workload: Workload
) -> Measurement:
    """Everything the load measured, as far as it came."""
    first_token = log.seconds("first-token")
    processes, group_peak = session.peak_memory()
    ended = timeline.now()
    death = timeline.first(Kind.OOM_KILL, *DEATHS)
    return Measurement(
        download_seconds=log.seconds("download"),
        create_seconds=log.seconds("create"),
        first_token_seconds=first_token,
        prefill_tokens_per_s=workload.prompt_tokens / first_token if first_token else None,
        # The first token is the prefill's; the second often pays for compilation or caches.
        decode_ms=Spread.of(log.token_ms[2:] or log.token_ms[1:]),
        tokens=tuple(log.tokens),
        token_ms=tuple(round(ms, 3) for ms in log.token_ms),
        phases=tuple(log.phases),
        memory=MemoryUse(processes=processes, group_peak_bytes=group_peak),
        cpu_seconds=session.cpu_seconds(),
        throttled_seconds=session.throttled_seconds(),
        wall_seconds=ended,
        bytes_loaded=log.bytes_loaded,
        detection_seconds=round(ended - death.at_seconds, 4) if death else None,
    )


def _keep_curve(session: Session, path: Path) -> None:
    """Keep the memory curve beside the record: it is too long to be part of it."""
    curve = [
        {"at_seconds": s.at_seconds, "processes": s.processes, "group_bytes": s.group_bytes}
        for s in session.memory_curve()
    ]
    path.write_text(json.dumps(curve), encoding="utf-8")


def _tiers(measurement: Measurement | None, verdict: Verdict) -> Tiers:
    if verdict in {Verdict.INFRA, Verdict.CASCADE}:
        return Tiers(prefill=None, decode=None, pair=None)
    if verdict is not Verdict.OK or measurement is None:
        return Tiers(prefill=Tier.UNSUPPORTED, decode=Tier.UNSUPPORTED, pair=Tier.UNSUPPORTED)
    prefill = measurement.prefill_tokens_per_s
    decode = measurement.decode_tokens_per_s
    tiers = (
        prefill_tier(prefill) if prefill is not None else None,
        decode_tier(decode) if decode is not None else None,
    )
    known = [tier for tier in tiers if tier is not None]
    return Tiers(prefill=tiers[0], decode=tiers[1], pair=lower(*known) if known else None)


def _device_record(device: Device, host: HostFacts) -> DeviceRecord:
    profile = device.profile
    return DeviceRecord(
        profile=profile.id,
        name=profile.name,
        kind=profile.kind,
        host=host.host,
        emulated=host.emulated,
        memory_limit_bytes=profile.limits.memory,
        cpu_limit=profile.limits.cpus,
        limiter=host.limiter,
    )


def _artifact_record(artifact: Artifact | None) -> ArtifactRecord | None:
    if artifact is None:
        return None
    return ArtifactRecord(
        key=artifact.key,
        kind=artifact.kind,
        format=artifact.format,
        total_bytes=artifact.total_bytes,
        sha256=artifact.sha256,
    )


def _conditions(host: HostFacts, workload: Workload, report: ProbeReport | None) -> Conditions:
    runtime = find_runtime(workload.runtime)
    adapter = report.backends.webgpu.adapter if report and report.backends.webgpu else None
    environment = report.environment if report else None
    return Conditions(
        harness_version=harness_version(),
        browser=host.browser,
        browser_version=host.browser_version,
        runtime_version=runtime.version(),
        adapter=adapter_name(adapter) if adapter else None,
        software_adapter=adapter.software if adapter else None,
        cross_origin_isolated=environment.cross_origin_isolated if environment else None,
        threads=runtime.threads(report) if report else None,
        operating_system=host.operating_system,
        cpu=host.cpu,
        cores=host.cores,
        memory_bytes=host.memory_bytes,
        load_average=host.load_average,
        temperature_celsius=host.temperature_celsius,
        facts=host.extra,
    )


def adapter_name(adapter: Adapter) -> str:
    """Vendor, architecture and description of a WebGPU adapter, as far as it gives them."""
    parts = (adapter.info.get(key) for key in ("vendor", "architecture", "description"))
    return " ".join(str(part) for part in parts if part) or "unnamed"


def _files(folder: Path, results: Path) -> dict[str, str]:
    """The raw evidence that is there, by name."""
    return {
        str(path.relative_to(folder)): str(path.relative_to(results))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size
    }
