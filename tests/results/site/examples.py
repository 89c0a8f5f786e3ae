"""A store with varied trials and its matrix, for the tests of the site and for its screenshots."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from results.accuracy import judge_prediction
from results.matrix.build import build_matrix
from results.matrix.names import file_name_of
from results.matrix.write import write_matrix
from results.record import (
    ArtifactRecord,
    DeviceRecord,
    Evidence,
    Interval,
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
from results.store import Store
from results.tiers import decode_tier, lower, prefill_tier
from tests.results.records import record

if TYPE_CHECKING:
    from pathlib import Path

    from results.matrix.model import Matrix

NOW: Final = datetime(2026, 11, 26, 12, tzinfo=UTC)
GIGABYTE: Final = 10**9
VERSIONS: Final = ("138.0.7204.92", "140.0.7339.80", "9.0.1")


class Machine(NamedTuple):
    """A device, and how fast it is beside the first one."""

    profile: str
    name: str
    kind: str
    speed: float
    memory: float
    limited: bool = False
    cpu: str = "a processor"
    adapter: str | None = None
    software: bool | None = None


MACHINES: Final = (
    Machine("pixel-9-pro", "Pixel 9 Pro", "android", 1.0, 9.0, adapter="arm valhall"),
    Machine("galaxy-a15", "Galaxy A15", "android", 0.22, 2.2, adapter="arm valhall"),
    Machine("desktop", "This machine's browser", "desktop", 1.7, 20.0, cpu="Ryzen 7 7840U"),
    Machine("desktop-2g", "A machine with 2 GiB", "desktop", 0.6, 1.9, limited=True),
    Machine("desktop-half-core", "Half a core", "desktop", 0.1, 20.0, limited=True),
    Machine("desktop", "A machine without a GPU", "desktop", 0.03, 9.0, software=True),
)
MODELS: Final = (("gemma-3-270m", 0.3, 90.0), ("gemma-2b", 1.5, 21.0), ("gemma-4-e2b", 3.0, 12.0))
RUNTIMES: Final = (
    ("wllama/wasm", "q4_k", 0.45),
    ("mediapipe/webgpu", "int4", 1.0),
    ("litert-lm/webgpu", "int8", 1.2),
)


def interval(value: float) -> Interval:
    return Interval(low=value * 0.6, expected=value, high=value * 1.6)


def trial(
    number: int,
    machine: Machine,
    model: tuple[str, float, float],
    runtime: tuple[str, str, float],
    version: int = 1,
) -> Record:
    """One trial, whose figures wobble with its number."""
    name, gigabytes, speed = model
    engine, quantisation, factor = runtime
    wobble = 1 + 0.2 * math.sin(number * 1.7)
    decode = speed * factor * machine.speed * wobble * (1 + 0.15 * version)
    expected = speed * factor * machine.speed * (0.7 if "gpu" in engine else 1.05)
    needed = gigabytes * 1.25
    fits = needed < machine.memory
    verdict = Verdict.OK if fits else Verdict.OOM
    if not fits and machine.kind == "android" and engine.startswith("litert"):
        verdict = Verdict.CRASH
    if engine.startswith("litert") and machine.profile == "desktop-half-core":
        verdict = Verdict.HANG
    if "webgpu" in engine and machine.limited and name == "gemma-3-270m":
        verdict = Verdict.UNSUPPORTED
    ran = verdict is Verdict.OK
    tier = lower(decode_tier(decode), prefill_tier(decode * 9)) if ran else None
    prediction = Prediction(
        verdict="ok" if needed < machine.memory * 1.1 else "oom",
        reason="expected to fit",
        tier=lower(decode_tier(expected), prefill_tier(expected * 9)),
        load_seconds=interval(gigabytes * 9),
        first_token_seconds=interval(16 / expected / 9),
        decode_tokens_per_s=interval(expected),
        prefill_tokens_per_s=interval(expected * 9),
        peak_memory_bytes=interval(needed * GIGABYTE),
    )
    tiers = Tiers(prefill=tier, decode=tier, pair=tier)
    judgement, reason = judge_prediction(prediction, verdict, tiers)
    peak = int(min(needed, machine.memory) * GIGABYTE)
    base = record()
    return record(
        f"{number:032x}",
        started_at=NOW - timedelta(days=3 + 40 * (2 - version), minutes=number),
        device=DeviceRecord(
            profile=machine.profile,
            name=machine.name,
            kind=machine.kind,
            host="secret-host",
            emulated=machine.limited,
            memory_limit_bytes=2 << 30 if machine.profile == "desktop-2g" else None,
            cpu_limit=0.5 if machine.profile == "desktop-half-core" else None,
        ),
        workload=WorkloadRecord(
            model=name, quantisation=quantisation, runtime=engine, prompt_tokens=16, output_tokens=8
        ),
        artifact=ArtifactRecord(
            key=f"{name}-{quantisation}",
            kind="synthetic",
            format="task",
            total_bytes=int(gigabytes * GIGABYTE),
        ),
        conditions=base.conditions.model_copy(
            update={
                "browser_version": VERSIONS[version],
                "cpu": machine.cpu,
                "adapter": machine.adapter,
                "software_adapter": machine.software,
                "operating_system": "Android 16" if machine.kind == "android" else "Debian 12",
                "threads": 4,
                "host_at_rest": True,
            }
        ),
        prediction=prediction,
        measurement=Measurement(
            download_seconds=gigabytes,
            create_seconds=gigabytes * 7 * wobble if ran else None,
            first_token_seconds=16 / decode / 9 if ran else None,
            prefill_tokens_per_s=decode * 9 if ran else None,
            decode_ms=Spread.of([1000 / decode]) if ran else None,
            memory=MemoryUse(processes={"renderer": peak, "gpu": peak // 9}),
            wall_seconds=gigabytes * 9,
        ),
        tiers=tiers,
        verdict=verdict,
        cause="tokens" if ran else "cgroup-oom-kill" if verdict is Verdict.OOM else str(verdict),
        explanation="8 tokens came out" if ran else "the kernel killed the renderer",
        evidence=_evidence(verdict, gigabytes),
        judgement=judgement,
        judgement_reason=reason,
    )


def _evidence(verdict: Verdict, gigabytes: float) -> tuple[Evidence, ...]:
    def phase(at: float, name: str) -> Evidence:
        return Evidence(at_seconds=at, source=Source.PAGE, kind=Kind.PHASE, detail={"name": name})

    begun = (phase(0.4, "start"), phase(0.6, "download"), phase(gigabytes, "create"))
    if verdict is Verdict.OK:
        return (
            *begun,
            phase(gigabytes * 7, "first-token"),
            Evidence(at_seconds=gigabytes * 9, source=Source.PAGE, kind=Kind.DONE),
        )
    kill = Evidence(
        at_seconds=gigabytes * 6,
        source=Source.CGROUP,
        kind=Kind.OOM_KILL if verdict is Verdict.OOM else Kind.RENDERER_GONE,
        detail={"count": 1, "by": "<script>alert(1)</script>"},
    )
    return (*begun, kill)


def curve(of: Record, samples: int = 60) -> list[dict[str, Any]]:
    """A memory curve that rises to the peak of the trial."""
    assert of.measurement is not None
    peaks = of.measurement.memory.processes
    last = of.evidence[-1].at_seconds if of.evidence else 10.0
    shares = [min(1.0, (place / samples) ** 1.5 * 1.1) for place in range(samples + 1)]
    return [
        {
            "at_seconds": round(last * place / samples, 3),
            "processes": {kind: int(peak * share) for kind, peak in peaks.items()}
            | {"browser": 220_000_000},
            "group_bytes": int(sum(peaks.values()) * share * 1.05),
        }
        for place, share in enumerate(shares)
    ]


def trials() -> list[Record]:
    """Every machine with every model and runtime; some with older browsers, one out of date."""
    number = 0
    records = []
    for machine in MACHINES:
        for model in MODELS:
            for runtime in RUNTIMES:
                if machine.software and "webgpu" not in runtime[0]:
                    continue
                versions = (0, 1) if model[0] == "gemma-3-270m" else (1,)
                for version in versions:
                    for _ in range(3):
                        number += 1
                        records.append(trial(number, machine, model, runtime, version))
    number += 1
    old = trial(number, MACHINES[0], ("gemma-2-2b-it", 1.6, 18.0), RUNTIMES[0], 0)
    return [*records, old.model_copy(update={"started_at": NOW - timedelta(days=200)})]


HOSTILE: Final = (
    "<script>window.owned=1;alert(1)</script>",
    '"><img src=x onerror="window.owned=1;alert(1)">',
    "'\"></script></title></textarea></select></table></div><svg onload=window.owned=1>",
    "{{ 7*7 }}{% set owned = 1 %}{# gone #}${7*7}",
    "[click](javascript:window.owned=1) `code` **bold** ![i](http://192.0.2.1/i.png)",
    "# heading | a | b |\n\n---\ntitle: owned\n---\n{: onclick=window.owned=1 }",
    "javascript:window.owned=1",
    "../../../../etc/passwd",
    "\u202egnp.exe\u2066 \u05e9\u05dc\u05d5\u05dd \x1b[31mred\x07\x00\x02wzxhzdk:0\x03",
    "W" * 10_000,
    "<!-- gone --> &lt;b&gt; ]]> <![CDATA[ x ]]> &#60;script&#62;",
    "",
)
"""What a device, a page or somebody else's store may say."""


def hostile_trials() -> list[Record]:
    """Every hostile text in every place where a record holds text."""
    kinds = ("android", "desktop")
    return [_hostile(text, number, kinds[number % 2]) for number, text in enumerate(HOSTILE)]


def _hostile(text: str, number: int, kind: str) -> Record:
    verdict = Verdict.OOM if number % 4 > 1 else Verdict.OK
    base = trial(1000 + number, MACHINES[0], MODELS[0], RUNTIMES[0])
    conditions = base.conditions.model_copy(
        update={
            "browser": text,
            "browser_version": text,
            "runtime_version": text,
            "operating_system": text,
            "adapter": text,
            "software_adapter": number % 3 == 0,
            "cpu": text,
        }
    )
    evidence = Evidence(
        at_seconds=1.0, source=Source.PAGE, kind=Kind.PHASE, detail={"name": text, text: text}
    )
    return base.model_copy(
        update={
            "trial_id": f"{kind}{number}{text}",
            "device": DeviceRecord(
                profile=f"{kind}{text}",
                name=text,
                kind=kind,
                host="secret-host",
                emulated=number % 3 == 1,
                memory_limit_bytes=1,
            ),
            "workload": WorkloadRecord(
                model=text,
                quantisation=text,
                runtime=f"{text}/webgpu",
                prompt_tokens=16,
                output_tokens=8,
                source=text,
                variant=text,
            ),
            "artifact": ArtifactRecord(
                key=text, kind="synthetic", format=text, total_bytes=1, sha256=text
            ),
            "conditions": conditions,
            "prediction": base.prediction.model_copy(update={"reason": text}),
            "verdict": verdict,
            "cause": text,
            "explanation": text,
            "evidence": (evidence, *base.evidence),
            "judgement_reason": text,
        }
    )


def publish(records: list[Record], folder: Path) -> tuple[Matrix, Store]:
    """Store the records with their memory curves, and write the matrix; the store is open."""
    results = folder / "results"
    store = Store.open(results)
    for item in records:
        name = f"trials/{file_name_of(item.trial_id)}/memory-curve.json"
        (results / name).parent.mkdir(parents=True)
        (results / name).write_text(json.dumps(curve(item)), encoding="utf-8")
        store.start_run(item.run_id, "pytest suites")
        store.add(item.model_copy(update={"files": {"memory-curve.json": name}}))
    matrix = build_matrix(store, NOW)
    (folder / "matrix").mkdir()
    write_matrix(matrix, store, results, folder / "matrix")
    return matrix, store
