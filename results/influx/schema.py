"""What tierlab writes to InfluxDB: the measurements, their tags and fields, as data.

Lines are made and checked by it, dashboards refer to it, and docs/influx-schema.md is made from it.
Three rules hold for all of it: a field has one type for ever (InfluxDB refuses a second one); no
measurement has a tag and a field of one name (InfluxDB 3 forbids that); and what differs from trial
to trial, such as an id, is a field, because every new tag value is a new series.

A figure that is to be averaged to a share is a float of 1 or 0: InfluxQL has no mean of booleans.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

from results.figures import METRICS
from results.memory_curve import OTHER, PROCESSES


class Type(StrEnum):
    """How a field's value is written."""

    FLOAT = "float"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Tag:
    """What points are filtered and grouped by. A tag is always there; "none" stands for nothing."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a point; left out where it is not known."""

    name: str
    type: Type
    unit: str
    meaning: str


@dataclass(frozen=True)
class Measurement:
    """One kind of point."""

    name: str
    meaning: str
    time: str
    tags: tuple[Tag, ...]
    fields: tuple[Field, ...]

    @cached_property
    def tag_names(self) -> frozenset[str]:
        """The names of the tags."""
        return frozenset(tag.name for tag in self.tags)

    @cached_property
    def field_types(self) -> dict[str, Type]:
        """The types of the fields by name."""
        return {field.name: field.type for field in self.fields}


def _float(name: str, unit: str, meaning: str) -> Field:
    return Field(name, Type.FLOAT, unit, meaning)


def _share(name: str, meaning: str) -> Field:
    return Field(name, Type.FLOAT, "1 or 0", meaning)


def _integer(name: str, unit: str, meaning: str) -> Field:
    return Field(name, Type.INTEGER, unit, meaning)


def _boolean(name: str, meaning: str) -> Field:
    return Field(name, Type.BOOLEAN, "", meaning)


def _string(name: str, meaning: str) -> Field:
    return Field(name, Type.STRING, "", meaning)


# ---- what several measurements have in common ----

_DEVICE_TAGS: Final = (
    Tag("profile", "device profile"),
    Tag("kind", "how the device is driven, such as desktop"),
    Tag("hardware", "processor, cores and memory of a desktop; none for a device of one product"),
    Tag("host", "the lab host"),
    Tag("emulated", "true where limits or emulation stand for another device"),
)
_SOFTWARE_TAG: Final = Tag(
    "software_adapter", "true where WebGPU ran on the processor: no figure of any GPU"
)
_BROWSER_TAGS: Final = (
    Tag("browser", "browser engine"),
    Tag("browser_version", "its full version"),
)
_CELL_TAGS: Final = (
    Tag("model", "architecture of the catalogue"),
    Tag("quantisation", "how its weights are stored"),
    Tag("variant", "a special artifact of the model, such as pruned-50"),
    Tag("runtime", "inference engine and backend"),
    Tag("source", "where the page takes the bytes from"),
)
_VERDICT_TAG: Final = Tag(
    "verdict", "what happened: ok, oom, crash, hang, unsupported, infra or cascade"
)
_ID_FIELDS: Final = (
    _string("trial_id", "the trial; `tierlab runs show` has its evidence"),
    _string("run_id", "the run it was part of"),
)

# ---- trial ----

_METRIC_UNITS: Final = {
    "load_seconds": ("s", "download and creation of the model"),
    "first_token_seconds": ("s", "from prompt to first token, as a user meets it first"),
    "prefill_tokens_per_s": ("tokens/s", "reading the prompt"),
    "decode_tokens_per_s": ("tokens/s", "writing the answer, from the mean of its steps"),
    "peak_bytes": ("bytes", "peak memory of the processes that hold the model"),
}


def _metric_fields(metric: str) -> tuple[Field, ...]:
    unit, meaning = _METRIC_UNITS[metric]
    return (
        _float(metric, unit, meaning),
        _float(f"predicted_{metric}", unit, f"predicted: {meaning}"),
        _float(f"predicted_{metric}_low", unit, "lower bound of the prediction"),
        _float(f"predicted_{metric}_high", unit, "upper bound of the prediction"),
        _float(f"{metric}_ratio", "", "measured over predicted"),
        _share(f"{metric}_within", "whether it was within the bounds, as 9 in 10 should be"),
    )


TRIAL: Final = Measurement(
    name="trial",
    meaning="One trial: the prediction beside what was measured.",
    time="when the trial began",
    tags=(
        *_DEVICE_TAGS,
        _SOFTWARE_TAG,
        *_BROWSER_TAGS,
        *_CELL_TAGS,
        Tag("runtime_version", "version of the inference engine"),
        Tag("artifact_kind", "synthetic or real"),
        _VERDICT_TAG,
        Tag("cause", "the rule that decided on the verdict, such as kernel-oom"),
        Tag("tier", "measured tier: the lower of prefill and decode"),
        Tag("predicted_verdict", "ok, oom, unsupported or unknown"),
        Tag("predicted_tier", "predicted tier"),
        Tag("judgement", "right, over-promise, under-promise or unknown"),
    ),
    fields=(
        *_ID_FIELDS,
        *(field for metric in METRICS for field in _metric_fields(metric)),
        _share("prediction_right", "absent where nothing was predicted or found out"),
        _share("over_promise", "predicted better than it was; absent likewise"),
        _share("under_promise", "predicted worse than it was; absent likewise"),
        _share("ok", "whether it ran; absent where the trial says nothing of the device"),
        _share("oom", "whether memory ran out; absent likewise"),
        _float("download_seconds", "s", "fetching the artifact"),
        _float("create_seconds", "s", "creating the model from it"),
        _float("warm_first_token_seconds", "s", "the same prompt once more"),
        _float("first_use_seconds", "s", "what the first prompt took more than the same again"),
        _float("decode_ms_p10", "ms", "10th percentile of a decode step"),
        _float("decode_ms_p90", "ms", "90th percentile of a decode step"),
        _integer("decode_steps", "", "how many decode steps were measured"),
        _float("wall_seconds", "s", "the whole load"),
        _float("cpu_seconds", "s", "CPU time of all processes during it"),
        _float("throttled_seconds", "s", "time for which a CPU limit held it back"),
        _float("detection_seconds", "s", "from the first sign of a death to the trial's end"),
        _integer("group_peak_bytes", "bytes", "peak of the limited group, page cache included"),
        _integer("gpu_peak_bytes", "bytes", "peak of WebGPU buffers and textures"),
        _integer("bytes_loaded", "bytes", "what the page took from its source"),
        _integer("prompt_tokens", "tokens", "length of the prompt that was asked for"),
        _integer("output_tokens", "tokens", "length of the answer that was asked for"),
        _integer("tokens", "tokens", "how many came out"),
        _integer("threads", "", "threads of the engine"),
        _integer("artifact_bytes", "bytes", "size of the model file"),
        _string("artifact_key", "which model file"),
        _integer("memory_limit_bytes", "bytes", "memory limit of a limited device"),
        _float("cpu_limit", "processors", "CPU limit of a limited device"),
        _boolean("offline_worked", "whether a second load worked with the network cut"),
        _boolean("cross_origin_isolated", "whether the page had shared memory"),
        _string("adapter", "WebGPU adapter, in its own words"),
        _string("cpu", "processor"),
        _string("operating_system", "operating system of the device"),
        _string("harness_version", "version of tierlab"),
        _string("explanation", "the verdict in one sentence"),
        _string("judgement_reason", "the judgement in one sentence"),
        _string("prediction_reason", "the predicted verdict in one sentence"),
        _integer("schema_version", "", "of the record"),
    ),
)

# ---- probe ----

KERNELS: Final = {
    "int4_head": "bytes_per_s",
    "int4_layer": "bytes_per_s",
    "int8_head": "bytes_per_s",
    "int8_layer": "bytes_per_s",
    "fp16_head": "bytes_per_s",
    "dequant_int4": "bytes_per_s",
    "dot_int4": "bytes_per_s",
    "dot_int8": "bytes_per_s",
    "dot_q4_k": "bytes_per_s",
    "simd_int4": "bytes_per_s",
    "simd_int8": "bytes_per_s",
    "stream": "bytes_per_s",
    "copy": "bytes_per_s",
    "attention": "bytes_per_s",
    "gemv_int4": "bytes_per_s",
    "gemv_int8": "bytes_per_s",
    "gemv_f16": "bytes_per_s",
    "head_int4": "bytes_per_s",
    "gemm_m16": "flops_per_s",
    "gemm_m64": "flops_per_s",
    "matmul": "flops_per_s",
    "matmul_f16": "flops_per_s",
    "chain": "op_us",
    "rebind_chain": "op_us",
    "small_ops": "op_us",
    "barrier": "op_us",
    "submit": "op_us",
}
"""The probe's kernels, of both backends, and the unit each is measured in."""

_UNIT_TEXTS: Final = {"bytes_per_s": "bytes/s", "flops_per_s": "operations/s", "op_us": "us"}
_KERNEL_MEANINGS: Final = {
    "bytes_per_s": "bytes read by the kernel {}, weights as they are stored: median",
    "flops_per_s": "arithmetic done by the kernel {}: median",
    "op_us": "time of one operation of the kernel {}: median",
}


def _kernel_fields(kernel: str, unit: str) -> tuple[Field, ...]:
    text, name = _UNIT_TEXTS[unit], f"{kernel}_{unit}"
    return (
        _float(name, text, _KERNEL_MEANINGS[unit].format(kernel)),
        _float(f"{name}_p10", text, "10th percentile"),
        _float(f"{name}_p90", text, "90th percentile"),
    )


PROBE: Final = Measurement(
    name="probe",
    meaning="What the zero-weight probe measured before a trial: one point a backend, of"
    " WebAssembly one a number of threads. Figures of the whole backend, and of the page, are the"
    " same in each.",
    time="when the trial began",
    tags=(
        *_DEVICE_TAGS,
        _SOFTWARE_TAG,
        *_BROWSER_TAGS,
        Tag("backend", "wasm or webgpu"),
        Tag("threads", "of WebAssembly, as a number; none for WebGPU"),
    ),
    fields=(
        *_ID_FIELDS,
        _boolean("available", "whether the backend could be measured"),
        _string("reason", "why it could not be measured"),
        *(field for kernel, unit in KERNELS.items() for field in _kernel_fields(kernel, unit)),
        _float("duty", "", "time at work over time gone by: below 1 when it was throttled"),
        _float("compile_ms", "ms", "compiling the kernels; of WebGPU all pipelines together"),
        _float("start_ms", "ms", "starting the workers"),
        _float("fill_ms", "ms", "filling the buffers"),
        _float("device_ms", "ms", "getting the WebGPU device"),
        _float("memory_bytes", "bytes", "what the probe itself took"),
        _float("backend_ms", "ms", "the whole backend"),
        _float("total_ms", "ms", "the whole probe"),
        _boolean("timestamps", "whether WebGPU measured its own time"),
        _integer("hardware_concurrency", "", "processors, in the page's words"),
        _float("device_memory_gib", "GiB", "memory, in the page's words"),
        _integer("js_heap_limit_bytes", "bytes", "largest JavaScript heap"),
        _boolean("wasm_simd", "whether the browser has WebAssembly SIMD"),
        _boolean("wasm_threads", "whether the browser has WebAssembly threads"),
        _boolean("wasm_memory64", "whether the browser has 64-bit WebAssembly memory"),
        _boolean("webgpu", "whether the browser has WebGPU"),
        _integer("problems", "", "how many things the probe complained of"),
    ),
)

# ---- memory ----

_MEMORY_PROCESSES: Final = {
    "renderer": "the page's process",
    "gpu": "the browser's GPU process",
    "engine": "an engine outside of a browser",
    "browser": "the browser's main process",
    "utility": "network, storage and the like",
    "zygote": "the process that others are forked from",
    OTHER: "any other",
}

MEMORY: Final = Measurement(
    name="memory",
    meaning="The memory curve of a trial: resident bytes of the largest process of each kind."
    " At most 200 points a trial; ends and peaks are among them.",
    time="when the sample was taken",
    tags=(*_DEVICE_TAGS, _SOFTWARE_TAG, _BROWSER_TAGS[0], *_CELL_TAGS, _VERDICT_TAG),
    fields=(
        *_ID_FIELDS,
        _float("at_seconds", "s", "since the trial began"),
        _integer("model_bytes", "bytes", "renderer, GPU process and engine together"),
        *(
            _integer(f"{kind}_bytes", "bytes", _MEMORY_PROCESSES[kind])
            for kind in (*PROCESSES, OTHER)
        ),
        _integer("group_bytes", "bytes", "the limited group, page cache included"),
    ),
)

# ---- health ----

HEALTH: Final = Measurement(
    name="health",
    meaning="The lab host at the time of a trial: whether its figures can be trusted.",
    time="when the trial began",
    tags=_DEVICE_TAGS,
    fields=(
        *_ID_FIELDS,
        _float("load_average", "processes", "1-minute load average just before the trial"),
        _float("load_per_core", "processes", "the same over the number of cores"),
        _share("at_rest", "whether nothing else kept the host busy just before the load"),
        _float("temperature_celsius", "degrees Celsius", "just before the trial"),
        _float("throttled_seconds", "s", "time for which a CPU limit held the load back"),
        _share("infra", "whether the trial failed by the lab's own fault"),
        _integer("cores", "", "processors"),
        _integer("memory_bytes", "bytes", "memory of the host"),
        _string("operating_system", "operating system of the device"),
        _string("harness_version", "version of tierlab"),
    ),
)

# ---- outbox ----

OUTBOX: Final = Measurement(
    name="outbox",
    meaning="What a host still had to send after it sent something. Not of a trial: written with"
    " the time of sending.",
    time="when it was counted",
    tags=(Tag("host", "the lab host"),),
    fields=(
        _integer("waiting", "", "records that wait to be sent"),
        _integer("parked", "", "lines that the database refused"),
        _float("oldest_seconds", "s", "age of the record that waits longest"),
    ),
)

MEASUREMENTS: Final = (TRIAL, PROBE, MEMORY, HEALTH, OUTBOX)
