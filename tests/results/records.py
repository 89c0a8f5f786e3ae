"""Records for tests: one that is complete, and strategies for any."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from results.record import (
    ArtifactRecord,
    Conditions,
    DeviceRecord,
    Evidence,
    Interval,
    Judgement,
    Kind,
    Measurement,
    MemoryUse,
    Phase,
    Prediction,
    Record,
    Source,
    Spread,
    Tiers,
    Verdict,
    WorkloadRecord,
)
from results.tiers import Tier


def interval(value: float) -> Interval:
    return Interval(low=value / 2, expected=value, high=value * 2)


def record(trial_id: str = "trial-1", run_id: str = "run-1", **changes: Any) -> Record:
    """A trial that went well, with some of its parts replaced."""
    whole = Record(
        trial_id=trial_id,
        run_id=run_id,
        started_at=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC),
        device=DeviceRecord(
            profile="desktop", name="A machine", kind="desktop", host="host", emulated=False
        ),
        workload=WorkloadRecord(
            model="gemma-2b",
            quantisation="int4",
            runtime="onnxruntime-web/wasm",
            prompt_tokens=16,
            output_tokens=8,
        ),
        artifact=ArtifactRecord(key="a", kind="synthetic", format="onnx", total_bytes=1),
        conditions=Conditions(
            harness_version="0.1",
            browser="chromium",
            browser_version="140.0",
            runtime_version="1.2",
            operating_system="Linux",
            cpu="a processor",
            cores=2,
            memory_bytes=8 << 30,
        ),
        probe={"schema": 1},
        prediction=Prediction(
            verdict="ok",
            reason="it fits",
            tier=Tier.LOW,
            decode_tokens_per_s=interval(6.0),
            prefill_tokens_per_s=interval(60.0),
            peak_memory_bytes=interval(5e9),
        ),
        measurement=Measurement(
            prefill_tokens_per_s=55.5,
            decode_ms=Spread(n=3, median=125.0, p10=120.0, p90=130.0),
            memory=MemoryUse(processes={"renderer": 4_000_000_000, "gpu": 500_000_000}),
            wall_seconds=30.0,
        ),
        tiers=Tiers(prefill=Tier.LOW, decode=Tier.LOW, pair=Tier.LOW),
        verdict=Verdict.OK,
        cause="tokens",
        explanation="8 tokens came out",
        evidence=(Evidence(at_seconds=1.0, source=Source.PAGE, kind=Kind.DONE),),
        judgement=Judgement.RIGHT,
        judgement_reason="predicted tier low, and so it was",
    )
    return whole.model_copy(update=changes)


# What pages say arrives through JSON: any text but halves of characters, any number.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=True)
SIZE = st.integers(min_value=0, max_value=2**53)
SECONDS = st.floats(min_value=0, allow_nan=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXT
JSON = st.recursive(
    SCALARS | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
DETAIL = st.dictionaries(TEXT, JSON, max_size=3)
TIER = st.none() | st.sampled_from(Tier)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


INTERVAL = st.builds(Interval, low=NUMBER, expected=NUMBER, high=NUMBER)
SPREAD = st.builds(Spread, n=SIZE, median=NUMBER, p10=NUMBER, p90=NUMBER)
EVIDENCE = st.builds(
    Evidence,
    at_seconds=NUMBER,
    source=st.sampled_from(Source),
    kind=st.sampled_from(Kind),
    detail=DETAIL,
)
PREDICTION = st.builds(
    Prediction,
    verdict=st.sampled_from(["ok", "oom", "unsupported", "unknown"]),
    reason=TEXT,
    tier=TIER,
    load_seconds=maybe(INTERVAL),
    decode_tokens_per_s=maybe(INTERVAL),
    peak_memory_bytes=maybe(INTERVAL),
)
MEASUREMENT = st.builds(
    Measurement,
    download_seconds=maybe(SECONDS),
    first_token_seconds=maybe(SECONDS),
    prefill_tokens_per_s=maybe(NUMBER),
    decode_ms=maybe(SPREAD),
    tokens=st.lists(st.integers(), max_size=3).map(tuple),
    token_ms=st.lists(NUMBER, max_size=3).map(tuple),
    phases=st.lists(
        st.builds(Phase, name=TEXT, wall_seconds=SECONDS, cpu_seconds=maybe(NUMBER)), max_size=2
    ).map(tuple),
    memory=st.builds(
        MemoryUse,
        processes=st.dictionaries(TEXT, SIZE, max_size=2),
        group_peak_bytes=maybe(SIZE),
    ),
    cpu_seconds=maybe(NUMBER),
    wall_seconds=SECONDS,
    bytes_loaded=SIZE,
)
RECORDS = st.builds(
    record,
    trial_id=TEXT,
    run_id=TEXT,
    started_at=st.datetimes(timezones=st.just(UTC)),
    device=st.builds(
        DeviceRecord,
        profile=TEXT,
        name=TEXT,
        kind=TEXT,
        host=TEXT,
        emulated=st.booleans(),
        memory_limit_bytes=maybe(SIZE),
        cpu_limit=maybe(NUMBER),
        limiter=maybe(TEXT),
    ),
    artifact=maybe(
        st.builds(
            ArtifactRecord,
            key=TEXT,
            kind=st.sampled_from(["synthetic", "real"]),
            format=TEXT,
            total_bytes=SIZE,
            sha256=maybe(TEXT),
        )
    ),
    probe=maybe(DETAIL),
    prediction=PREDICTION,
    measurement=maybe(MEASUREMENT),
    tiers=st.builds(Tiers, prefill=TIER, decode=TIER, pair=TIER),
    verdict=st.sampled_from(Verdict),
    cause=TEXT,
    explanation=TEXT,
    evidence=st.lists(EVIDENCE, max_size=3).map(tuple),
    judgement=st.sampled_from(Judgement),
    judgement_reason=TEXT,
    files=st.dictionaries(TEXT, TEXT, max_size=2),
)
