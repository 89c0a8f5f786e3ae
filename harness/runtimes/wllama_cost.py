"""What wllama 3.8.1 costs on top of a device's speed: data, each with where it is from.

llama.cpp multiplies quantised weights with activations rounded to int8, which the probe's `dot_`
kernels do too, in another way: hence a factor for each way of storing weights (`accuracy`), and
another one for prefill (`prefill_accuracy`).

Speeds: single loads on 2-core x86-64 machines with 2 threads and Chromium 156, each against the
probe of the same trial (`dot_int8` 3.6 GB/s, `dot_int4` 1.4 GB/s, `gemm_m16` 38 Gflop/s where it
was quiet). The expected values are from the last loads through the harness on a host at rest; the
bounds hold what was seen before, up to twice as fast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPERATIONS_PER_LAYER: Final = 12
_OPERATIONS_FIXED: Final = 4


@dataclass(frozen=True, slots=True)
class _Speed:
    """Which kernel stands for a way of storing weights, and how much faster the engine is."""

    kernel: str
    decode: Band
    prefill: Band


_SPEEDS: Final[Mapping[str, _Speed]] = {
    # gemma-2b, 3 loads: 2.5 to 3.3 times, and a prefill of 0.37 to 0.47; once 4.5 and 0.84.
    "q4_k": _Speed("dot_int4", Band(1.8, 2.8, 5), Band(0.25, 0.42, 0.9)),
    # gemma-3-270m, 6 loads: 0.75 to 0.8 times, and 0.26 to 0.29; once 1.67 to 1.9 and 0.46 to 0.51
    # (gemma-3-1b and gemma-2b as well).
    "q8_0": _Speed("dot_int8", Band(0.5, 0.78, 2), Band(0.17, 0.28, 0.51)),
    # gemma-3-270m, 3 loads: 9.0 tokens/s and a prefill of 21, where 11.8 and 34 were 1.3 and 0.22
    # times; gemma-3-1b and gemma-2b, with tables in q4_0 as well: 1.13 to 1.3, and 0.19 to 0.26.
    "q4_0": _Speed("dot_int4", Band(0.6, 1, 2), Band(0.1, 0.15, 0.32)),
    # gemma-3-270m, 4 loads, 3 of them on a virtual phone: 1.08 to 1.23 times, and 0.19 to 0.21.
    "fp16": _Speed("fp16_head", Band(0.4, 1.1, 2.5), Band(0.1, 0.2, 0.5)),
    # Not measured: a belief.
    "fp32": _Speed("fp16_head", Band(0.2, 0.8, 2.5), Band(0.1, 0.4, 1)),
}

_WASM: Final = EngineCost(
    name="wllama/wasm",
    backend="wasm",
    decode={name: DecodeKernels(speed.kernel, speed.kernel) for name, speed in _SPEEDS.items()},
    prefill=dict.fromkeys(_SPEEDS, PrefillKernels(product="gemm_m16")),
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    # Files of 0.28, 1.07, 1.41 and 2.67 GB in 3.4, 6.4, 7.6 and 13.4 s; on the busy machine up to
    # four times as long.
    load_bytes_per_s=Band(0.06e9, 0.24e9, 0.5e9),
    load_fixed_s=Band(0.8, 2, 4),
    # First prefill over the second at the same length: 1.0, 2.3 and 4.9 (gemma-3-270m).
    first_run=Band(1, 1.8, 4),
    # Renderer and GPU process peaked at 1.01 to 1.08 and 2.97 to 2.99 GB for files of 0.291 and
    # 1.551 GB from the network (4 and 3 loads): a line of 1.5 times the file and 0.6 GB, as pieces
    # that were read wait for the garbage collector. From a cache or a file 0.87 GB for 0.291 GB (4
    # loads). Less garbage: 3.54 GB for 2.67 GB.
    memory=MemoryModel(
        load_copies=Band(1.1, 1.5, 1.65),
        run_copies=Band(1, 1, 1.65),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.3e9, 0.6e9, 0.75e9),
        kv_element_bytes=2,
    ),
    # It is built for memories with 64-bit addresses, and yet ends at 4 GiB.
    heap_bytes=1 << 32,
)

# One NVIDIA H200 (Chromium 156, Vulkan, shader-f16 allowed by a flag, 16 cores at 2.1 GHz), 3 loads
# of gemma-3-270m in q8_0 and of gemma-2b in q4_k: 30 to 32 and 26 ms a token, nearly all of it
# between the GPU's commands.
_WEBGPU: Final = EngineCost(
    name="wllama/webgpu",
    backend="webgpu",
    decode=dict.fromkeys(_SPEEDS, DecodeKernels(body="gemv_int4", head="gemv_int4")),
    prefill=dict.fromkeys(_SPEEDS, PrefillKernels(product="matmul")),
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    run_ms=Band(8, 21, 40),
    operation_us=Band(5, 20, 50),
    rows_together=True,
    # Files of 0.29 and 1.55 GB in 4.4 to 6.5 and 7.8 to 10 s.
    load_bytes_per_s=Band(0.1e9, 0.5e9, 0.9e9),
    load_fixed_s=Band(1, 5, 10),
    # The first prompt over the same once more: 3 to 4 times for 16 tokens, 2 for 512.
    first_run=Band(1, 3, 6),
    accuracy=Band(0.5, 1, 2),
    # 124 to 138 ms for 16 tokens, 0.5 s for 512.
    prefill_accuracy=Band(0.1, 0.23, 0.8),
    # Renderer and GPU process 1.76 and 3.47 GB for those files.
    memory=MemoryModel(
        load_copies=Band(1, 1.36, 2.2),
        run_copies=Band(1, 1.36, 2),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.8e9, 1.36e9, 1.7e9),
        kv_element_bytes=2,
    ),
    binds_whole_tensors=True,
)


def engine_cost(backend: str, quantisation: str, *, threads: int = 1) -> EngineCost:
    """The cost of the engine on a backend, for weights stored in that way."""
    if backend == "webgpu":
        return _WEBGPU
    speed = _SPEEDS[quantisation]
    return replace(
        _WASM,
        accuracy=speed.decode,
        prefill_accuracy=speed.prefill,
        threads=threads,
        needs_isolation=threads > 1,
    )
