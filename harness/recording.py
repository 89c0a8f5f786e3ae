"""What of a trial goes into its record: pure mappings, and the raw files beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from harness.evidence import DEATHS
from harness.host import harness_version
from harness.runtimes import find_runtime
from results.record import (
    ArtifactRecord,
    Conditions,
    DeviceRecord,
    Kind,
    Measurement,
    MemoryUse,
    Spread,
    Tiers,
    Verdict,
)
from results.tiers import Tier, decode_tier, lower, prefill_tier

if TYPE_CHECKING:
    from pathlib import Path

    from harness.devices.base import Device, HostFacts, Watched
    from harness.evidence import Timeline
    from harness.load import LoadLog
    from harness.models import Workload
    from harness.probe.report import Adapter, ProbeReport
    from harness.weights.artifact import Artifact


def measurement_of(
    session: Watched, timeline: Timeline, log: LoadLog, workload: Workload
) -> Measurement:
    """Everything the load measured, as far as it came."""
    first_token = log.seconds("first-token")
    warm = None if log.warm_ms is None else log.warm_ms / 1000
    prefill = warm or first_token
    prompt_tokens = log.prompt_tokens or workload.prompt_tokens
    processes, group_peak = session.peak_memory()
    ended = timeline.now()
    death = timeline.first(Kind.OOM_KILL, *DEATHS)
    return Measurement(
        download_seconds=log.seconds("download"),
        create_seconds=log.seconds("create"),
        first_token_seconds=first_token,
        warm_first_token_seconds=warm,
        prompt_tokens=log.prompt_tokens,
        prefill_tokens_per_s=prompt_tokens / prefill if prefill else None,
        # What comes first is the prefill's; the token after it often pays for caches.
        decode_ms=Spread.of(log.token_ms[log.first_batch + 1 :] or log.token_ms[log.first_batch :]),
        tokens=tuple(log.tokens),
        token_ms=tuple(round(ms, 3) for ms in log.token_ms),
        phases=tuple(log.phases),
        memory=MemoryUse(processes=processes, group_peak_bytes=group_peak),
        gpu=log.gpu,
        storage=log.storage,
        cpu_seconds=session.cpu_seconds(),
        throttled_seconds=session.throttled_seconds(),
        wall_seconds=ended,
        bytes_loaded=log.bytes_loaded,
        detection_seconds=round(ended - death.at_seconds, 4) if death else None,
    )


def keep_curve(session: Watched, path: Path) -> None:
    """Keep the memory curve beside the record: it is too long to be part of it."""
    curve = [
        {"at_seconds": s.at_seconds, "processes": s.processes, "group_bytes": s.group_bytes}
        for s in session.memory_curve()
    ]
    path.write_text(json.dumps(curve), encoding="utf-8")


def tiers_of(measurement: Measurement | None, verdict: Verdict) -> Tiers:
    """The measured tiers; none for a trial that says nothing about the device."""
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


def device_record(device: Device, host: HostFacts) -> DeviceRecord:
    """Which device it was, and how far it is the real thing."""
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


def artifact_record(artifact: Artifact | None) -> ArtifactRecord | None:
    """The model file that was loaded, if one was."""
    if artifact is None:
        return None
    return ArtifactRecord(
        key=artifact.key,
        kind=artifact.kind,
        format=artifact.format,
        total_bytes=artifact.total_bytes,
        sha256=artifact.sha256,
    )


def conditions_of(
    host: HostFacts, workload: Workload, report: ProbeReport | None, *, at_rest: bool | None
) -> Conditions:
    """Under which circumstances the numbers came to be, as far as they were found out."""
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
        host_at_rest=at_rest,
        temperature_celsius=host.temperature_celsius,
        facts=host.extra,
    )


def adapter_name(adapter: Adapter) -> str:
    """Vendor, architecture and description of a WebGPU adapter, as far as it gives them."""
    parts = (adapter.info.get(key) for key in ("vendor", "architecture", "description"))
    return " ".join(str(part) for part in parts if part) or "unnamed"


def raw_files(folder: Path, results: Path) -> dict[str, str]:
    """The raw evidence that is there, by name."""
    return {
        str(path.relative_to(folder)): str(path.relative_to(results))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size
    }
