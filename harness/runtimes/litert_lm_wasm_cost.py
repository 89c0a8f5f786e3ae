"""What @litert-lm/core 0.17.1 costs on WebAssembly: data, each with where it is from."""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels

QUANTISATIONS: Final = ("int8", "int4", "fp32")

COST: Final = EngineCost(
    name="litert-lm/wasm",
    backend="wasm",
    decode={
        "int8": DecodeKernels(body="dot_int8", head="dot_int8"),
        "int4": DecodeKernels(body="dot_int4", head="dot_int4"),
        "fp32": DecodeKernels(body="stream", head="stream"),
    },
    prefill=dict.fromkeys(QUANTISATIONS, PrefillKernels(product="gemm_m16")),
    operations_per_layer=60,
    operations_fixed=20,
    load_bytes_per_s=Band(0.03e9, 0.06e9, 0.2e9),
    load_fixed_s=Band(1, 2, 5),
    memory=MemoryModel(
        load_copies=Band(2.4, 2.8, 3.2),
        run_copies=Band(2.4, 2.8, 3.2),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.2e9, 0.3e9, 0.5e9),
    ),
    heap_bytes=1 << 32,
)
