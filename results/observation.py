"""One trial as calibration and evaluation see it: what was predicted from, and what was measured.

`results` never imports `harness`: whoever knows engines and models (`harness.observing`) turns
stored records into these, with the terms of today's engine recipes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from results.record import Verdict


class Quantity(StrEnum):
    """What is predicted. All but memory are seconds; memory is bytes."""

    LOAD = "load"
    FIRST_TOKEN = "first_token"  # noqa: S105 - of a prompt
    PREFILL = "prefill"
    DECODE = "decode"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Facts:
    """What simpler rules than the probe would go by; `None` where it is not known."""

    hardware_concurrency: int | None = None
    device_memory_gib: float | None = None
    max_buffer_bytes: int | None = None
    max_binding_bytes: int | None = None
    stream_bytes_per_s: float | None = None
    multiply_flops_per_s: float | None = None
    duty: float | None = None
    software_adapter: bool | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial.

    Attributes:
        trial_id: of its record.
        device: the device class; what is left out together.
        host: the machine that it ran on.
        recipe: key of the engine recipe, such as `wllama/wasm` or `onnxruntime-web/wasm:fp16`.
        runtime, model, quantisation: of the workload.
        threads: that the engine ran with.
        prompt_tokens, output_tokens: of the workload.
        file_bytes: of the artifact, 0 where none was planned.
        decode_bytes: of the weights that one decoded token reads.
        memory_limit_bytes: what the engine's processes may use; `None` is unknown.
        too_much: why structure alone forbids the workload (unsupported), or `None`.
        heap_bytes: (needed, there is) of the engine's address space, or `None` without a limit.
        verdict: what happened.
        terms: for each quantity, the term's name and its base (seconds, or bytes for memory) from
            the probe report and the model's shape: the prediction is `sum(factor * base)`.
        measured: what the load measured, where it came so far.
        facts: for the baselines.
        probe_seconds: how long the probe took, and `load_bytes`, what the load moved.
        vector: the device as the probe sees it: for each kernel, log2 of its rate (with duty).
        trusted: whether the host was at rest and nothing else spoke against the figures.
        day: when it ran, such as `2026-01-31`; processor, browser (name and major version) and
            adapter (vendor and architecture): what it ran on, "" where it is not known.
        cores: that the device class has; classes of as many cores may be left out together.
    """

    trial_id: str
    device: str
    host: str
    recipe: str
    runtime: str
    model: str
    quantisation: str
    threads: int
    prompt_tokens: int
    output_tokens: int
    file_bytes: int
    decode_bytes: int
    memory_limit_bytes: int | None
    too_much: str | None
    heap_bytes: tuple[float, float] | None
    verdict: Verdict
    terms: Mapping[Quantity, Mapping[str, float]]
    measured: Mapping[Quantity, float]
    facts: Facts
    probe_seconds: float
    load_bytes: int
    vector: Mapping[str, float]
    trusted: bool = True
    day: str = ""
    processor: str = ""
    browser: str = ""
    adapter: str = ""
    cores: float | None = None
