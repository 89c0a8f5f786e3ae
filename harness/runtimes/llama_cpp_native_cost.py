"""What llama.cpp costs natively: data, each with where it is from. Speeds are not predicted."""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, EngineCost, MemoryModel
from harness.runtimes.native import unpredicted_decode, unpredicted_prefill

_QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16")

COST: Final = EngineCost(
    name="llama.cpp/native",
    backend="wasm",
    decode=unpredicted_decode(_QUANTISATIONS),
    prefill=unpredicted_prefill(_QUANTISATIONS),
    operations_per_layer=0,
    operations_fixed=0,
    load_bytes_per_s=Band(0.05e9, 0.4e9, 2e9),
    load_fixed_s=Band(0.05, 0.2, 1),
    memory=MemoryModel(
        load_copies=Band(1, 1, 1.1),
        run_copies=Band(1, 1, 1.1),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.05e9, 0.1e9, 0.2e9),
        kv_element_bytes=2,
    ),
)
