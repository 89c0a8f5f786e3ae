"""What LiteRT-LM costs natively: data, each with where it is from. Speeds are not predicted."""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, EngineCost, MemoryModel
from harness.runtimes.native import unpredicted_decode, unpredicted_prefill

_QUANTISATIONS: Final = ("int8", "int4", "fp32")

COST: Final = EngineCost(
    name="litert-lm/native",
    backend="wasm",
    decode=unpredicted_decode(_QUANTISATIONS),
    prefill=unpredicted_prefill(_QUANTISATIONS),
    operations_per_layer=0,
    operations_fixed=0,
    load_bytes_per_s=Band(0.05e9, 0.4e9, 2e9),
    load_fixed_s=Band(0.2, 0.5, 2),
    memory=MemoryModel(
        load_copies=Band(1.5, 2.3, 3),
        run_copies=Band(1.5, 2.3, 3),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.1e9, 0.2e9, 0.4e9),
    ),
)
