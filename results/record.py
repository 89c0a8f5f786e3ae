"""The record of one trial: everything that is stored, and everything needed to repeat it.

The schema is versioned. A reader refuses a version it does not know instead of guessing; a change
of meaning raises `SCHEMA_VERSION`. Units are in the names (`_seconds`, `_bytes`); token rates are
tokens a second.
"""

from __future__ import annotations

import math
from datetime import datetime  # noqa: TC003 - pydantic reads annotations at run time
from enum import StrEnum
from statistics import median, quantiles
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, JsonValue

from results.tiers import Tier  # noqa: TC001 - as above

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION: Final = 1

# Of the median step: less is the time between two messages, and not that of a step.
_NO_STEP: Final = 0.25

Seconds = Annotated[float, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]


def _whole_characters(value: JsonValue) -> JsonValue:
    """The value without halves of characters: JavaScript has them, files and terminals do not."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case list():
            return [_whole_characters(item) for item in value]
        case dict():
            return {str(_whole_characters(k)): _whole_characters(v) for k, v in value.items()}
    return value


PageText = Annotated[str, AfterValidator(_whole_characters)]


class Part(BaseModel):
    """Base of every part of a record: immutable, and unknown keys are errors."""

    # JSON has no NaN, and a page may report one: as text it can be read back.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Verdict(StrEnum):
    """What happened to a full load."""

    OK = "ok"
    OOM = "oom"
    CRASH = "crash"
    HANG = "hang"
    UNSUPPORTED = "unsupported"
    INFRA = "infra"
    CASCADE = "cascade"


class Source(StrEnum):
    """Who observed a piece of evidence."""

    ADB = "adb"
    CDP = "cdp"
    CGROUP = "cgroup"
    CRASH_REPORT = "crash-report"
    DRIVER = "driver"
    ENGINE = "engine"
    EXIT_INFO = "exit-info"
    HARNESS = "harness"
    KERNEL = "kernel"
    LOGCAT = "logcat"
    PAGE = "page"
    PROCESS = "process"
    STDERR = "stderr"
    THERMAL = "thermal"
    WATCHDOG = "watchdog"


class Kind(StrEnum):
    """What was observed."""

    ARTIFACT_REFUSED = "artifact-refused"
    BROWSER_GONE = "browser-gone"
    CHILD_GONE = "child-gone"
    CPU_FALLBACK = "cpu-fallback"
    DEADLINE = "deadline"
    DEVICE_LOST = "device-lost"
    DONE = "done"
    EARLIER_FAILURE = "earlier-failure"
    ENGINE_ERROR = "engine-error"
    EXIT_RECORD = "exit-record"
    GPU_PROCESS_GONE = "gpu-process-gone"
    LAB_ERROR = "lab-error"
    LEASE_LOST = "lease-lost"
    LMK_KILL = "lmk-kill"
    NATIVE_CRASH = "native-crash"
    OOM_KILL = "oom-kill"
    OUT_OF_MEMORY_LINE = "out-of-memory-line"
    PHASE = "phase"
    PROCESS_EXIT = "process-exit"
    REBOOTED = "rebooted"
    RENDERER_GONE = "renderer-gone"
    SYSTEM_KILL = "system-kill"
    THROTTLED = "throttled"
    TOMBSTONE = "tombstone"
    TRANSPORT_LOST = "transport-lost"
    UNSUPPORTED = "unsupported"
    V8_OOM = "v8-oom"
    VALIDATION = "validation"


class Evidence(Part):
    """One observation from one source.

    `at_seconds` counts from the start of the trial on the harness's monotonic clock.
    """

    at_seconds: float
    source: Source
    kind: Kind
    detail: Annotated[dict[str, JsonValue], AfterValidator(_whole_characters)] = {}

    def text(self, key: str) -> str:
        """The detail of that name as text, "" when it is absent."""
        return str(self.detail.get(key, ""))

    def __str__(self) -> str:
        detail = ", ".join(f"{key}={value}" for key, value in self.detail.items())
        return f"{self.at_seconds:8.3f} s  {self.source}: {self.kind}" + (
            f" ({detail})" if detail else ""
        )


class Interval(Part):
    """An expected value between two bounds that should hold 9 times in 10."""

    low: float
    expected: float
    high: float


class Term(Part):
    """One addend of a prediction: `factor * base`, in seconds, or in bytes for memory.

    The base follows from the probe report and the model's shape, the factor is the engine's.
    """

    base: float
    factor: float


class Prediction(Part):
    """What the probe says of a workload before anything is downloaded. `None` is "unknown"."""

    verdict: Literal["ok", "oom", "unsupported", "unknown"]
    reason: str
    tier: Tier | None = None
    load_seconds: Interval | None = None
    first_token_seconds: Interval | None = None
    prefill_tokens_per_s: Interval | None = None
    decode_tokens_per_s: Interval | None = None
    peak_memory_bytes: Interval | None = None
    terms: dict[str, dict[str, Term]] = Field(
        default={}, description="what each quantity adds up from, by the names in `Quantity`"
    )
    calibrated: bool = Field(
        default=False, description="whether factors and intervals are fitted ones, and not beliefs"
    )


class Spread(Part):
    """A repeated measurement: its number, median, and 10th and 90th percentile."""

    n: int
    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """The spread of `values`, or `None` when there are none."""
        if not values:
            return None
        if len(values) == 1:
            return cls(n=1, median=values[0], p10=values[0], p90=values[0])
        tenths = quantiles(values, n=10, method="inclusive")
        return cls(n=len(values), median=median(values), p10=tenths[0], p90=tenths[-1])


class Phase(Part):
    """One phase of a load: when it ended, how long it took, and the CPU time it used."""

    name: PageText
    wall_seconds: Seconds
    cpu_seconds: float | None = None


class MemoryUse(Part):
    """Peak resident memory while the load ran.

    `processes` is the largest single process of each kind (`renderer`, `gpu`, `browser`,
    `utility`; `engine` outside of a browser); `group_peak_bytes` is the peak of the whole limited
    group, page cache included.
    """

    processes: dict[str, Bytes]
    group_peak_bytes: Bytes | None = None

    @property
    def engine_bytes(self) -> int:
        """Peak of the processes that hold the model: renderer and GPU process, or the engine's.

        No more than that of the whole group where it is known: the sum counts pages twice that
        two processes share, such as buffers on their way to a GPU in software, and those of the
        browser's own program, which the kernel can take back.
        """
        apart = sum(self.processes.get(kind, 0) for kind in ("renderer", "gpu", "engine"))
        return apart if self.group_peak_bytes is None else min(apart, self.group_peak_bytes)


class GpuUse(Part):
    """What an engine did with WebGPU, seen from the page.

    `peak_bytes` is that of its buffers and textures together; in records of before textures were
    counted, of its buffers.
    """

    peak_bytes: Bytes = Field(validation_alias=AliasChoices("peak_bytes", "buffer_peak_bytes"))
    pipelines: int
    compile_seconds: Seconds = Field(
        description="time in which at least one pipeline was being compiled"
    )


class StorageUse(Part):
    """What the browser said of the page's storage, before and after the artifact was kept there."""

    quota_bytes: Bytes | None = None
    usage_before_bytes: Bytes | None = None
    usage_after_bytes: Bytes | None = None
    persisted: bool | None = None


class OfflineLoad(Part):
    """A second load with the network cut."""

    worked: bool
    reason: PageText = Field(description="why not, or what it took")
    seconds: Seconds | None = None
    tokens: int = 0


class Measurement(Part):
    """What the full load measured; fields stay `None` for a phase that was not reached.

    `first_token_seconds` is the first prompt's, as a user meets it: compilation and first use are
    part of it. `warm_first_token_seconds` is the same prompt's once more; prefill is told by it
    where it is known.
    """

    download_seconds: Seconds | None = None
    create_seconds: Seconds | None = None
    first_token_seconds: Seconds | None = None
    warm_first_token_seconds: Seconds | None = None
    prompt_tokens: int | None = Field(
        default=None, description="as the engine counted them, with what it puts around a prompt"
    )
    prefill_tokens_per_s: float | None = None
    decode_ms: Spread | None = Field(
        default=None, description="milliseconds a token, the first decoded token excluded"
    )
    tokens: tuple[int, ...] = ()
    token_ms: tuple[float, ...] = ()
    phases: tuple[Phase, ...] = ()
    memory: MemoryUse
    gpu: GpuUse | None = None
    storage: StorageUse | None = None
    offline: OfflineLoad | None = None
    cpu_seconds: float | None = None
    throttled_seconds: float | None = None
    wall_seconds: Seconds
    bytes_loaded: Bytes = 0
    detection_seconds: float | None = Field(
        default=None, description="from the first sign of a death to the end of the trial"
    )

    @property
    def first_use_seconds(self) -> float | None:
        """What the first prompt took more than the same prompt again: compilation, first use."""
        if self.first_token_seconds is None or self.warm_first_token_seconds is None:
            return None
        return max(0.0, self.first_token_seconds - self.warm_first_token_seconds)

    @property
    def mean_decode_ms(self) -> float | None:
        """Milliseconds a token over the later two thirds of the steps that `decode_ms` is of.

        The mean is what a user waits for: under a quota of processor time most steps are quick and
        some stall, which the median does not see. The first third still runs what the browser's
        baseline compiler made, which no answer of usual length does for long. Where engines hand
        tokens out one late, the last comes at once, and is no step. Where the steps themselves were
        not kept, the median stands for it.
        """
        if self.decode_ms is None:
            return None
        n = self.decode_ms.n
        steps = self.token_ms[-n:] if 0 < n <= len(self.token_ms) else ()
        later = steps[len(steps) // 3 :]
        if len(later) > 1 and later[-1] < _NO_STEP * median(later):
            later = later[:-1]
        mean = sum(later) / len(later) if later else 0.0
        value = mean if math.isfinite(mean) and mean > 0 else self.decode_ms.median
        return value if math.isfinite(value) and value > 0 else None

    @property
    def decode_tokens_per_s(self) -> float | None:
        """Tokens a second once decoding has settled; see `mean_decode_ms`."""
        mean = self.mean_decode_ms
        return None if mean is None else 1000 / mean


def stand_in(kind: str) -> str:
    """What to call a device of that kind whose figures are not its own.

    A desktop is `limited` to stand for a smaller one; a phone that is none is `emulated`.
    """
    return "emulated" if kind in {"android", "ios"} else "limited"


class DeviceRecord(Part):
    """Which device, and how far it is the real thing."""

    profile: str
    name: str
    kind: str
    host: str
    emulated: bool
    memory_limit_bytes: Bytes | None = None
    cpu_limit: float | None = None
    limiter: str | None = None


class WorkloadRecord(Part):
    """What was asked of the device."""

    model: str
    quantisation: str
    runtime: str
    prompt_tokens: int
    output_tokens: int
    source: str = Field(default="network", description="where the page takes the bytes from")
    variant: str = Field(
        default="", description="a special artifact of the model, such as pruned-50; else empty"
    )

    @property
    def weights(self) -> str:
        """The model and how it is stored, such as `gemma-3-270m/int8 pruned-50`."""
        return f"{self.model}/{self.quantisation} {self.variant}".rstrip()


class ArtifactRecord(Part):
    """The model file that was loaded."""

    key: str
    kind: Literal["synthetic", "real"]
    format: str
    total_bytes: Bytes
    sha256: str | None = None


class Conditions(Part):
    """Under which circumstances the numbers came to be."""

    harness_version: str
    browser: str
    browser_version: str
    runtime_version: str
    adapter: str | None = None
    software_adapter: bool | None = None
    cross_origin_isolated: bool | None = None
    threads: int | None = None
    operating_system: str
    cpu: str
    cores: int
    memory_bytes: Bytes
    load_average: float | None = Field(
        default=None, description="1-minute load average of the host just before the trial"
    )
    host_at_rest: bool | None = Field(
        default=None, description="whether nothing else kept the host busy just before the load"
    )
    temperature_celsius: float | None = None
    facts: dict[str, JsonValue] = Field(
        default={}, description="everything else the device said of itself; untrusted"
    )


class Tiers(Part):
    """Measured tiers: prefill, decode, and the pair."""

    prefill: Tier | None
    decode: Tier | None
    pair: Tier | None


class Judgement(StrEnum):
    """How the prediction compares with what happened."""

    RIGHT = "right"
    OVER_PROMISE = "over-promise"
    UNDER_PROMISE = "under-promise"
    UNKNOWN = "unknown"


class Lineage(Part):
    """Which request a trial belongs to, and which try of it this is."""

    request_id: str
    attempt_id: str = Field(description="which invocation of pytest")
    number: int = Field(default=1, ge=1, description="1: the first try in this attempt")
    retry_of: str | None = Field(default=None, description="the trial id of the try before")
    retry_cause: Literal["infra", "incomplete", "failure"] | None = None
    resource: str = Field(default="", description="what was leased")
    lease_token: int | None = None


class Record(Part):
    """One trial as stored."""

    schema_version: Literal[1] = SCHEMA_VERSION
    trial_id: str
    run_id: str
    started_at: datetime
    device: DeviceRecord
    workload: WorkloadRecord
    artifact: ArtifactRecord | None
    conditions: Conditions
    probe: dict[str, Any] | None
    prediction: Prediction
    measurement: Measurement | None
    tiers: Tiers
    verdict: Verdict
    cause: str
    explanation: str
    evidence: tuple[Evidence, ...]
    judgement: Judgement
    judgement_reason: str
    files: dict[str, str] = Field(
        default={}, description="raw evidence, by name; paths relative to the results folder"
    )
    lineage: Lineage | None = Field(
        default=None, description="which request of which attempt; records of before have none"
    )

    @property
    def states(self) -> bool:
        """Whether it says something of the device, and so fulfils its request."""
        return self.verdict not in {Verdict.INFRA, Verdict.CASCADE}
