"""A lab's worth of records for tests of what is made of many: devices, engines, verdicts, days."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from results.memory_curve import FILE_NAME, PROCESSES
from results.record import (
    GpuUse,
    Judgement,
    Measurement,
    MemoryUse,
    OfflineLoad,
    Prediction,
    Spread,
    Tiers,
    Verdict,
)
from results.tiers import Tier
from tests.results.records import interval, record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from results.record import Record

REPORTS: Final = Path(__file__).parent.parent.parent / "harness" / "probe" / "data"
WASM_REPORT: Final = json.loads((REPORTS / "chromium_wasm.json").read_text())
WEBGPU_REPORT: Final = json.loads((REPORTS / "chromium_swiftshader.json").read_text())

FIRST_DAY: Final = datetime(2025, 3, 1, 12, tzinfo=UTC)
DAYS: Final = 3


def with_curve(folder: Path, samples: list[Any], name: str = "t") -> dict[str, str]:
    """The files of a record whose memory curve is kept in a results folder."""
    (folder / name).mkdir(exist_ok=True)
    (folder / name / FILE_NAME).write_text(json.dumps(samples))
    return {FILE_NAME: f"{name}/{FILE_NAME}"}


def complete(folder: Path, trial_id: str = "trial-1") -> Record:
    """A record that knows everything there is to know, its memory curve in a results folder."""
    whole, five = record(trial_id), interval(5.0)
    samples = [
        {
            "at_seconds": at,
            "processes": dict.fromkeys([*PROCESSES, "odd"], at),
            "group_bytes": 10 * at,
        }
        for at in (1, 2, 3)
    ]
    return whole.model_copy(
        update={
            "files": with_curve(folder, samples, trial_id),
            "device": whole.device.model_copy(update={"memory_limit_bytes": 1, "cpu_limit": 0.5}),
            "conditions": whole.conditions.model_copy(
                update={
                    "adapter": "a", "cross_origin_isolated": True, "threads": 2,
                    "load_average": 1.0, "host_at_rest": True, "temperature_celsius": 40.0,
                }
            ),
            "probe": WASM_REPORT,
            "prediction": Prediction(
                verdict="ok", reason="", tier=Tier.LOW, load_seconds=five,
                first_token_seconds=five, prefill_tokens_per_s=five, decode_tokens_per_s=five,
                peak_memory_bytes=five,
            ),
            "measurement": Measurement(
                download_seconds=1.0, create_seconds=1.0, first_token_seconds=2.0,
                warm_first_token_seconds=1.0, prefill_tokens_per_s=5.0,
                decode_ms=Spread(n=1, median=100.0, p10=100.0, p90=100.0),
                memory=MemoryUse(processes={"renderer": 1}, group_peak_bytes=1),
                gpu=GpuUse(peak_bytes=1, pipelines=1, compile_seconds=1.0),
                offline=OfflineLoad(worked=True, reason=""),
                cpu_seconds=1.0, throttled_seconds=1.0, wall_seconds=1.0, detection_seconds=1.0,
            ),
        }
    )  # fmt: skip


# Device, engine, verdict and judgement of each day's trials; the first is all well.
_TRIALS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"judgement": Judgement.OVER_PROMISE, "tier": Tier.UNSUPPORTED},
    {"runtime": "mediapipe/webgpu", "software": True, "judgement": Judgement.UNDER_PROMISE},
    {"verdict": Verdict.OOM, "cause": "kernel-oom", "judgement": Judgement.OVER_PROMISE},
    {"verdict": Verdict.OOM, "cause": "v8-heap", "profile": "desktop-2g", "emulated": True},
    {"profile": "desktop-half-core", "emulated": True},
    {"profile": "pixel", "kind": "android", "host": "host-2", "tier": Tier.HIGH},
    {"verdict": Verdict.INFRA, "cause": "lab", "judgement": Judgement.UNKNOWN, "tier": None},
    {"verdict": Verdict.CASCADE, "cause": "earlier-failure", "judgement": Judgement.UNKNOWN},
)


def varied(folder: Path) -> Iterator[Record]:
    """Trials of some days, each day with another browser version; all that is known is in them."""
    for day in range(DAYS):
        for number, changes in enumerate(_TRIALS):
            whole = complete(folder, f"trial-{day}-{number}")
            yield _changed(whole, **changes).model_copy(
                update={
                    "started_at": FIRST_DAY + timedelta(days=day, minutes=number),
                    "conditions": whole.conditions.model_copy(
                        update={
                            "browser_version": f"14{day}.0.1",
                            "runtime_version": f"3.{day}",
                            "software_adapter": changes.get("software"),
                        }
                    ),
                }
            )


def _changed(
    whole: Record,
    *,
    profile: str = "desktop",
    kind: str = "desktop",
    host: str = "host-1",
    emulated: bool = False,
    runtime: str = "wllama/wasm",
    software: bool = False,
    verdict: Verdict = Verdict.OK,
    cause: str = "tokens",
    judgement: Judgement = Judgement.RIGHT,
    tier: Tier | None = Tier.LOW,
) -> Record:
    return whole.model_copy(
        update={
            "device": whole.device.model_copy(
                update={"profile": profile, "kind": kind, "host": host, "emulated": emulated}
            ),
            "workload": whole.workload.model_copy(update={"runtime": runtime}),
            "probe": WEBGPU_REPORT if software else WASM_REPORT,
            "verdict": verdict,
            "cause": cause,
            "judgement": judgement,
            "tiers": Tiers(prefill=tier, decode=tier, pair=tier),
        }
    )
