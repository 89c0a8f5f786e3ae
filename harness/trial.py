"""One trial: one probe and one full load of one workload on one device, judged and recorded.

    gates -> probe -> prediction -> full load -> evidence -> verdict -> record

Read `run_trial` from top to bottom; every step is a function of its own.
"""

from __future__ import annotations

import uuid
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from harness.devices.profile_folder import persistent_profile
from harness.errors import UserError
from harness.evidence import Timeline
from harness.foresight import demand_of
from harness.load import Deadlines, full_load
from harness.models import find_model
from harness.native_load import native_load
from harness.offline import offline_load
from harness.probe.calibrated import shipped
from harness.probe.predict import MemoryBudget, predict
from harness.probe.run import ProbeFailedError, run_probe
from harness.probe.terms import kernels_of
from harness.recording import (
    artifact_record,
    conditions_of,
    device_record,
    keep_curve,
    measurement_of,
    raw_files,
    tiers_of,
)
from harness.runtimes import find_runtime
from harness.runtimes.base import NativeRuntime, WebRuntime, engine_on
from harness.sources import find_source
from harness.verdict import judge
from harness.weights.cache import default_root
from harness.weights.tokenizer import FIRST_WORD, text_of
from results.accuracy import judge_prediction
from results.record import (
    Kind,
    Measurement,
    Prediction,
    Record,
    Source,
    Verdict,
    WorkloadRecord,
)
from results.tiers import Tier

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.devices.base import Device, HostFacts
    from harness.models import Architecture, Workload
    from harness.probe.report import ProbeReport
    from harness.profiles import Profile
    from harness.runtimes.base import Runtime
    from harness.web.server import Server
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe

    ArtifactSource = Callable[[Recipe], Artifact]


# What engines put around a prompt: a start token, turns of a chat.
CONTEXT_MARGIN: Final = 32

# Where the first token takes longer than this, the same prompt is not run once more.
WARM_LIMIT_MS: Final = 20_000.0


@dataclass(frozen=True, slots=True)
class TrialSettings:
    """What is the same for all trials of a run.

    Attributes:
        run_id: the run that the trial belongs to.
        results: the results folder; raw evidence goes to `trials/TRIAL_ID/` below it.
        attempt_id: which invocation of the run this is; another one has another.
        deadlines: how long the page may be silent.
        probe_budget_ms: how long the probe may measure.
        seed: decides on the probe's data.
        offline: whether each good load is followed by one with the network cut.
    """

    run_id: str
    results: Path
    attempt_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    deadlines: Deadlines = field(default_factory=Deadlines)
    probe_budget_ms: int = 1200
    seed: int = 1
    offline: bool = False


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
    report: ProbeReport | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Record:
    """Run one trial and return its record; the caller stores it.

    Args:
        device: the device, leased by the caller.
        workload: what is asked of it.
        artifact_source: gives the model file for the recipe that the runtime chooses.
        server: serves the trial page and the artifact.
        settings: what is the same for all trials of a run.
        report: what an earlier probe of this run saw; it is not repeated then.
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

    foreseen = await _foresee(bench, artifact_source, report)
    progress(f"predicted: {foreseen.prediction.verdict} ({foreseen.prediction.reason})")

    timeline = Timeline()
    measurement, at_rest = None, None
    if foreseen.obstacle is Kind.UNSUPPORTED:
        timeline.add(Source.HARNESS, Kind.UNSUPPORTED, reason=foreseen.prediction.reason)
    elif foreseen.obstacle:
        timeline.add(Source.HARNESS, foreseen.obstacle, message=foreseen.prediction.reason)
    else:
        at_rest = await device.rest()
        measurement = await _load(bench, foreseen, timeline)
        if taken := await device.overtaken():
            timeline.add(Source.HARNESS, Kind.LEASE_LOST, message=taken)

    judged = judge(timeline.items)
    progress(f"verdict: {judged.verdict} ({judged.explanation})")
    tiers = tiers_of(measurement, judged.verdict)
    judgement, why = judge_prediction(foreseen.prediction, judged.verdict, tiers)
    return Record(
        trial_id=trial_id,
        run_id=settings.run_id,
        started_at=started_at,
        device=device_record(device, host),
        workload=WorkloadRecord(**asdict(workload)),
        artifact=artifact_record(foreseen.artifact),
        conditions=conditions_of(host, workload, foreseen.report, at_rest=at_rest),
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
        files=raw_files(folder, settings.results),
    )


async def _foresee(
    bench: _Bench, artifact_source: ArtifactSource, known: ProbeReport | None
) -> Foreseen:
    """Gates, probe and prediction: everything that is known before the load."""
    device, host, workload = bench.device, bench.host, bench.workload
    runtime, model = find_runtime(workload.runtime), find_model(workload.model)
    for gate in await device.gates():
        if not gate.passed:
            closed = f"{gate.name} is {gate.observed}, the limit is {gate.limit}"
            return Foreseen(_unknown(closed), obstacle=Kind.LAB_ERROR)
    if too_old := version_gate(device.profile, host):
        return Foreseen(_unsupported(too_old), obstacle=Kind.UNSUPPORTED)
    if device.profile.kind != "desktop" and isinstance(runtime, NativeRuntime):
        here = f"{workload.runtime} runs on this machine, and not on {device.profile.name}"
        return Foreseen(_unsupported(here), obstacle=Kind.UNSUPPORTED)
    asked = probed(runtime, workload.quantisation)
    try:
        report = known or await run_probe(
            device,
            bench.server,
            bench.folder / "probe",
            budget_ms=bench.settings.probe_budget_ms,
            seed=bench.settings.seed,
            backends=asked.backends,
            kernels=asked.kernels,
            progress=bench.progress,
        )
    except ProbeFailedError as error:
        return Foreseen(_unknown(f"the probe failed: {error}"), obstacle=Kind.LAB_ERROR)
    if reason := runtime.unsupported(model, workload.quantisation, report):
        return Foreseen(_unsupported(reason), report, obstacle=Kind.UNSUPPORTED)
    artifact = artifact_source(runtime.recipe(model, workload.quantisation, report))
    _check_shape(artifact, model)
    prediction = predict(
        report,
        demand_of(workload, artifact.stored_bytes, runtime.threads(report)),
        engine_on(runtime, workload.quantisation, report),
        memory_budget(device.profile, host),
        shipped(),
    )
    return Foreseen(prediction, report, artifact)


async def _load(bench: _Bench, foreseen: Foreseen, timeline: Timeline) -> Measurement:
    """The full load, in a fresh browser or a fresh process, and what it measured."""
    if foreseen.artifact is None or foreseen.report is None:
        raise ValueError("there is nothing to load")
    runtime = find_runtime(bench.workload.runtime)
    threads = runtime.threads(foreseen.report)
    if isinstance(runtime, WebRuntime):
        return await _load_page(bench, runtime, foreseen.artifact, threads, timeline)
    if isinstance(runtime, NativeRuntime):
        return await _load_process(bench, runtime, foreseen.artifact, threads, timeline)
    raise TypeError(runtime)


async def _load_page(
    bench: _Bench, runtime: WebRuntime, artifact: Artifact, threads: int, timeline: Timeline
) -> Measurement:
    workload, settings = bench.workload, bench.settings
    source = find_source(workload.source)
    base = bench.server.publish(artifact.key, artifact.directory)
    job = web_job(workload, runtime, artifact, base, threads)
    load: dict[str, Any] = {
        "url": f"{bench.server.url}/page/trial.html",
        # On a phone a tab can die of which nobody says anything: it leaves word of itself.
        "job": {
            **job,
            "keepOffline": settings.offline,
            "tombstone": bench.device.profile.kind != "desktop",
        },
        "deadlines": settings.deadlines,
        "progress": bench.progress,
        "picks": [artifact.directory / file.name for file in artifact.files if source.picked],
    }
    room = (
        persistent_profile(default_root(), artifact.total_bytes)
        if source.persistent
        else nullcontext()
    )
    with room as folder:
        async with bench.device.session(timeline, bench.folder, persistent=folder) as session:
            log = await full_load(
                session, timeline, screenshot=bench.folder / "screenshot.png", **load
            )
            keep_curve(session, bench.folder / "memory-curve.json")
            measured = measurement_of(session, timeline, log, workload)
            if not settings.offline or judge(timeline.items).verdict is not Verdict.OK:
                return measured
            offline = await offline_load(
                session, bench.server, screenshot=bench.folder / "offline.png", **load
            )
            return measured.model_copy(update={"offline": offline})


async def _load_process(
    bench: _Bench, runtime: NativeRuntime, artifact: Artifact, threads: int, timeline: Timeline
) -> Measurement:
    async with bench.device.child(timeline, bench.folder) as child:
        log = await native_load(
            child,
            timeline,
            module=runtime.module,
            job=load_job(bench.workload, runtime, artifact, threads),
            deadlines=bench.settings.deadlines,
            progress=bench.progress,
        )
        keep_curve(child, bench.folder / "memory-curve.json")
        return measurement_of(child, timeline, log, bench.workload)


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
    if (app := profile.app_memory) is not None:
        # A phone's own apps and services have the rest of its memory, and do not give it up.
        return MemoryBudget(limit_bytes=app.available, source="what the profile gives one app")
    return MemoryBudget(limit_bytes=host.memory_bytes, source="the host's memory")


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probe measures; without `kernels` all that there are."""

    backends: tuple[Literal["wasm", "webgpu"], ...]
    kernels: tuple[str, ...] | None


def probed(runtime: Runtime, quantisation: str | None = None) -> Probed:
    """What speaks for an engine, with weights stored in one way or in any that it takes.

    Loading is the processor's work on every engine, and a browser's processors are those of an
    engine outside of it as well: there is always a bit of the WebAssembly side.
    """
    asked = runtime.quantisations if quantisation is None else (quantisation,)
    engines = [(runtime.engine(name, gpu=gpu), name) for name in asked for gpu in (False, True)]
    kernels = {"chain", "stream"}.union(*(kernels_of(engine, name) for engine, name in engines))
    return Probed(
        backends=("wasm", "webgpu") if runtime.backend == "webgpu" else ("wasm",),
        kernels=tuple(sorted(kernels)),
    )


def load_job(
    workload: Workload, runtime: Runtime, artifact: Artifact, threads: int
) -> dict[str, Any]:
    """What every engine is told, wherever it runs."""
    ids = prompt_ids(workload.prompt_tokens, artifact.shape["vocabulary"])
    config = runtime.config(artifact, threads)
    if "contextTokens" in config:
        # Keys and values are allocated for so many: an engine's usual number, or what is asked for.
        asked = workload.prompt_tokens + workload.output_tokens + CONTEXT_MARGIN
        config["contextTokens"] = max(config["contextTokens"], asked)
    return {
        "workload": str(workload),
        "config": config,
        "prompt": {"ids": ids, "text": text_of(ids)},
        "outputTokens": workload.output_tokens,
        "warmLimitMs": WARM_LIMIT_MS,
    }


def web_job(
    workload: Workload, runtime: WebRuntime, artifact: Artifact, base: str, threads: int
) -> dict[str, Any]:
    """What the trial page is told; see `runEngine` in engine.js.

    Args:
        workload: what is asked for.
        runtime: its engine.
        artifact: the model.
        base: URL path that the artifact is served below.
        threads: how many the engine may use.
    """
    return {
        **load_job(workload, runtime, artifact, threads),
        "adapter": runtime.adapter,
        "host": runtime.host,
        "gpuBytes": artifact.stored_bytes if runtime.backend == "webgpu" else 0,
        "source": {
            "kind": workload.source,
            "files": [
                {"name": file.name, "bytes": file.bytes, "url": base + file.name}
                for file in artifact.files
            ],
        },
    }


def prompt_ids(count: int, vocabulary: int) -> list[int]:
    """A prompt of repeatable token ids, each of a word of the synthetic vocabulary."""
    words = max(1, vocabulary - FIRST_WORD)
    first = FIRST_WORD if vocabulary > FIRST_WORD else 0
    return [first + 7 * position % words for position in range(1, count + 1)]


def _unknown(reason: str) -> Prediction:
    return Prediction(verdict="unknown", reason=reason)


def _unsupported(reason: str) -> Prediction:
    return Prediction(verdict="unsupported", reason=reason, tier=Tier.UNSUPPORTED)
