"""Real reports of the probe, and engines as runtimes describe them."""

from __future__ import annotations

from pathlib import Path

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels
from harness.probe.report import ProbeReport, parse_report

DATA = Path(__file__).parent / "data"


def sample(name: str) -> ProbeReport:
    return parse_report((DATA / f"{name}.json").read_bytes())


# onnxruntime-web 1.30, WebAssembly: MatMulNBits has no fused kernel there, so each matrix is
# expanded to fp32 before every product (ComputeBUnpacked in its
# contrib_ops/cpu/quantization/matmul_nbits.cc).
ORT_WEB_WASM = EngineCost(
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
    # Nodes of the synthetic Gemma 3 graph: 20 a layer, 12 around them.
    operations_per_layer=20,
    operations_fixed=12,
    # 0.31 to 0.53 ms a layer at width 128 (2 against 22 layers), 0.24 ms of it its matrices.
    operation_us=Band(3, 6, 15),
    run_ms=Band(0.5, 1, 2),
    threads=2,
    needs_isolation=True,
    # From a server on the same machine: 0.19, 0.66 and 1.63 GB in 1.8-2.8, 3.4-6.7, 8.0-11.1 s.
    load_bytes_per_s=Band(0.12e9, 0.23e9, 0.4e9),
    load_fixed_s=Band(0.8, 1.2, 2.5),
    # First prefill over the second at the same length: 1.0 to 1.9 (270m and 1b).
    first_run=Band(1, 1.4, 2.3),
    accuracy=Band(0.67, 1, 1.5),
    scale_bytes=4,
    table_scales=2,
    # Peak renderer 1.29, 2.77, 5.60 and 6.02 GB for files of 0.189, 0.664, 1.63 and 1.71 GB: each
    # is 2 * file + fp32 of the vocabulary's table + 0.24 GB.
    memory=MemoryModel(
        copies=Band(1.9, 2, 2.1), expanded=Band(1, 1, 1), base_bytes=Band(0.15e9, 0.24e9, 0.5e9)
    ),
    heap_bytes=1 << 32,
)

# onnxruntime-web 1.30, WebGPU: one fused int4 product a matrix. The accuracy is a guess with one
# point behind it (gemma-2b on SwiftShader), so the band is wide.
ORT_WEB_WEBGPU = EngineCost(
    name="onnxruntime-web/webgpu",
    backend="webgpu",
    decode={"int4": DecodeKernels(body="gemv_int4", head="gemv_int4")},
    prefill={"int4": PrefillKernels(product="matmul")},
    operations_per_layer=20,
    operations_fixed=12,
    run_ms=Band(1, 2, 6),
    load_bytes_per_s=Band(0.1e9, 0.3e9, 0.6e9),
    load_fixed_s=Band(0.8, 1.5, 6),
    first_run=Band(1, 2, 6),
    accuracy=Band(0.4, 1, 2),
    scale_bytes=4,
    table_scales=2,
    # The renderer holds about 0.8 files, the GPU process 1.5 (gemma-2b): 2.3 to 2.5 together.
    memory=MemoryModel(
        copies=Band(1.5, 2.2, 2.6), expanded=Band(0, 0, 0), base_bytes=Band(0.2e9, 0.3e9, 0.7e9)
    ),
    binds_whole_tensors=True,
)
