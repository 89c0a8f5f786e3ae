"""What LiteRT-LM costs natively: data, each with where it is from. Speeds are not predicted.

Measured with litert-lm-api 0.18.1 on a 2-core x86-64 machine with AVX2 that was busy with other
work: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, EngineCost, MemoryModel
from harness.runtimes.native import unpredicted_decode, unpredicted_prefill

_QUANTISATIONS: Final = ("int8", "int4", "fp32")

COST: Final = EngineCost(
    name="litert-lm/native",
    # The side of a report that is looked at; no kernel of it is used.
    backend="wasm",
    decode=unpredicted_decode(_QUANTISATIONS),
    prefill=unpredicted_prefill(_QUANTISATIONS),
    operations_per_layer=0,
    operations_fixed=0,
    # 0.28 GB in 1.3 to 2.4 s (4 loads), 1.01 GB in 5.0 s, 1.39 GB in 23 s.
    load_bytes_per_s=Band(0.04e9, 0.2e9, 0.5e9),
    load_fixed_s=Band(0.2, 0.5, 2),
    # Peaks of 0.545, 0.844 (3 loads), 2.926 and 4.039 GB for files of 0.149, 0.277, 1.011 and
    # 1.385 GB: 2.8 times the file, and 0.06 to 0.12 GB. One of these copies is the mapped file,
    # which the kernel can take back: gemma-3-270m (0.277 GB) was killed in 450 MiB and ran in 700.
    memory=MemoryModel(
        load_copies=Band(1.8, 2.85, 3.1),
        run_copies=Band(1.8, 2.85, 3.1),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.03e9, 0.1e9, 0.2e9),
    ),
)
