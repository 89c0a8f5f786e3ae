"""What onnxruntime-web 1.30 costs on top of a device's speed: data, each with where it is from.

Measured with Chromium 156 on a 2-core x86-64 machine without a GPU, with models of random weights
(gemma-3-270m, gemma-3-1b, gemma-2b, gemma-2-2b), mostly single runs on a machine that was not idle.
The bands are what was seen, or, where it says so, a belief.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels

# Nodes of the synthetic Gemma 3 graph: 20 a layer, 12 around them.
_OPERATIONS_PER_LAYER: Final = 20
_OPERATIONS_FIXED: Final = 12

# MatMulNBits has no fused kernel on WebAssembly: every matrix is expanded to fp32 before every
# product (ComputeBUnpacked in contrib_ops/cpu/quantization/matmul_nbits.cc of onnxruntime).
_WASM: Final = EngineCost(
    name="onnxruntime-web/wasm",
    backend="wasm",
    decode={
        "int4": DecodeKernels(body="int4_layer", head="int4_head"),
        "int8": DecodeKernels(body="int8_layer", head="int8_head"),
    },
    prefill={
        "int4": PrefillKernels(product="gemm_m16", expand="dequant_int4"),
        # Expansion alone is measured for int4 only: int8's with its one-row product stands for it.
        "int8": PrefillKernels(product="gemm_m16", expand="int8_layer"),
    },
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    # 0.31 to 0.53 ms a layer at width 128 (2 against 22 layers), 0.24 ms of it its matrices.
    operation_us=Band(3, 6, 15),
    run_ms=Band(0.5, 1, 2),
    # From a server on the same machine: files of 0.21, 0.68, 1.64 and 1.72 GB in 1.8, 2.9,
    # 5.6 to 6.3 and 9.7 s; on a busier machine up to twice as long.
    load_bytes_per_s=Band(0.12e9, 0.25e9, 0.4e9),
    load_fixed_s=Band(0.8, 1.0, 2.5),
    # First prefill over the second at the same length: 1.0 to 1.9 (270m and 1b).
    first_run=Band(1, 1.4, 2.3),
    # A belief: predicted over measured was within 0.6 to 2.0, but never on an idle machine.
    accuracy=Band(0.5, 1, 1.5),
    scale_bytes=4,
    table_scales=2,
    # Two copies while the session is made (the page's and the engine's), then one and the expanded
    # vocabulary table. Peak renderer 1.211, 2.225, 4.074, 4.075 and 4.432 GB for files of 0.206,
    # 0.681, 1.641 (twice) and 1.717 GB, and 1.355 GB for 0.340 GB in int8: in each the rest is
    # between 0.33 and 0.36 GB, and the GPU process, idle, adds 0.10 GB.
    memory=MemoryModel(
        load_copies=Band(2, 2, 2.1),
        run_copies=Band(1, 1, 1.05),
        expanded=Band(1, 1, 1),
        base_bytes=Band(0.38e9, 0.44e9, 0.55e9),
    ),
    heap_bytes=1 << 32,
)

# Plain float16 weights become fp32 constants when the session is made: slow to load and large, but
# then several times faster than int4, which is expanded again for every token. One point: a file
# of 0.553 GB took 13 s, peaked at 3.28 GB and stayed at 2.67 GB (gemma-3-270m, 2 threads).
_WASM_FP16: Final = replace(
    _WASM,
    decode={"fp16": DecodeKernels(body="fp16_head", head="fp16_head")},
    prefill={"fp16": PrefillKernels(product="gemm_m16")},
    load_bytes_per_s=Band(0.03e9, 0.045e9, 0.1e9),
    memory=MemoryModel(
        load_copies=Band(4.5, 5.3, 6),
        run_copies=Band(3.5, 4.2, 5),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.38e9, 0.44e9, 0.55e9),
    ),
)

# fp32 is the same products without the conversion: they read four bytes a weight, which the
# probe's stream stands for. One load on a busy machine: a file of 1.089 GB took 22.8 s, peaked at
# 3.27 GB and stayed at 2.25 GB (gemma-3-270m, 2 threads; 4.0 tokens/s beside 3.4 in fp16). The
# accuracy is that of fp16 on a quiet machine (7.6 tokens/s): no quiet load of fp32 was seen.
_WASM_FP32: Final = replace(
    _WASM,
    decode={"fp32": DecodeKernels(body="stream", head="stream")},
    prefill={"fp32": PrefillKernels(product="gemm_m16")},
    load_bytes_per_s=Band(0.04e9, 0.08e9, 0.2e9),
    memory=MemoryModel(
        load_copies=Band(2.4, 2.6, 3),
        run_copies=Band(1.5, 1.7, 2.2),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.38e9, 0.44e9, 0.55e9),
    ),
    accuracy=Band(0.2, 0.6, 1.2),
)

# One fused product a matrix. The probe has a GEMV for int4 only; bytes a second stand for int8 and
# fp16 too, since such a product is bound by reading. On SwiftShader the first version was right for
# gemma-2b (33 to 34 s a token) and 8 times too fast for gemma-3-270m (15 s instead of 2 s), whose
# small operations the chain kernel does not stand for there. The band is as wide as those two.
_WEBGPU_GEMV: Final = DecodeKernels(body="gemv_int4", head="gemv_int4")
_WEBGPU: Final = EngineCost(
    name="onnxruntime-web/webgpu",
    backend="webgpu",
    decode=dict.fromkeys(("int4", "int8", "fp16"), _WEBGPU_GEMV),
    prefill=dict.fromkeys(("int4", "int8", "fp16"), PrefillKernels(product="matmul")),
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    run_ms=Band(1, 2, 6),
    load_bytes_per_s=Band(0.1e9, 0.3e9, 0.6e9),
    load_fixed_s=Band(0.8, 1.5, 6),
    first_run=Band(1, 2, 6),
    accuracy=Band(0.12, 1, 2),
    scale_bytes=4,
    table_scales=2,
    # Renderer and GPU process together peaked at 1.70 GB for a file of 0.206 GB (gemma-3-270m) and
    # at 3.82 GB for weights of 1.63 GB (gemma-2b, layers sharing their bytes): two points, a line.
    memory=MemoryModel(
        load_copies=Band(1.3, 1.48, 2.0),
        run_copies=Band(1.3, 1.48, 2.0),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.9e9, 1.4e9, 1.7e9),
    ),
    binds_whole_tensors=True,
)


# One NVIDIA H200 (Chromium 156, Vulkan, 16 cores at 2.1 GHz), 3 loads of each model: 13.5 to 17 ms
# a token for gemma-3-270m and 18 to 19 for gemma-2b, most of it between the GPU's commands.
_WEBGPU_GPU: Final = replace(
    _WEBGPU,
    run_ms=Band(3, 8, 16),
    operation_us=Band(5, 15, 30),
    rows_together=True,
    # Files of 0.17 and 1.45 GB in 1.2 to 1.8 and 3.0 to 4.0 s.
    load_bytes_per_s=Band(0.1e9, 0.75e9, 1.5e9),
    load_fixed_s=Band(0.5, 1.2, 6),
    # 19 to 21 pipelines, each 0.8 to 1.6 times as long as the probe's mean.
    pipelines=Band(13, 24, 45),
    first_run=Band(1, 1, 3),
    accuracy=Band(0.5, 1, 2),
    # 18 to 22 ms for 16 tokens of gemma-3-270m, 44 of gemma-2b, and 92 ms for 512 of those.
    prefill_accuracy=Band(0.25, 0.8, 1.6),
    # Renderer and GPU process 1.02 and 3.11 GB for files of 0.17 and 1.45 GB.
    memory=MemoryModel(
        load_copies=Band(1.3, 1.64, 2.2),
        run_copies=Band(1.3, 1.64, 2.2),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.6e9, 0.74e9, 1.2e9),
    ),
)


def engine_cost(
    backend: str, quantisation: str, *, threads: int = 1, gpu: bool = False
) -> EngineCost:
    """The cost of the engine on a backend, for weights stored in that way."""
    if backend == "webgpu":
        return _WEBGPU_GPU if gpu else _WEBGPU
    chosen = {"fp16": _WASM_FP16, "fp32": _WASM_FP32}.get(quantisation, _WASM)
    return replace(chosen, threads=threads, needs_isolation=threads > 1)
