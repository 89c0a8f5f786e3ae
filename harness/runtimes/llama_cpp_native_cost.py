"""What llama.cpp costs natively: data, each with where it is from. Speeds are not predicted.

Measured with xllamacpp 2026.10.11549 on a 2-core x86-64 machine with AVX2 that was busy with other
work: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, EngineCost, MemoryModel
from harness.runtimes.native import unpredicted_decode, unpredicted_prefill

_QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16")

COST: Final = EngineCost(
    name="llama.cpp/native",
    # The side of a report that is looked at; no kernel of it is used.
    backend="wasm",
    decode=unpredicted_decode(_QUANTISATIONS),
    prefill=unpredicted_prefill(_QUANTISATIONS),
    operations_per_layer=0,
    operations_fixed=0,
    # 0.29 GB in 1.1 to 6.9 s (9 loads), 1.55 GB in 6.2 and 9.2 s.
    load_bytes_per_s=Band(0.04e9, 0.2e9, 1e9),
    load_fixed_s=Band(0.1, 0.3, 1),
    # Peaks of 0.335 and 0.637 GB for weights of 0.235 and 0.536 GB (gemma-3-270m in q4_0 and fp16),
    # 0.386 to 0.390 GB for 0.285 GB (q8_0, 5 loads) and 1.672 GB for 1.545 GB (gemma-2b in q4_k,
    # twice): one copy, and between 0.10 and 0.13 GB for Python, the vocabulary and buffers; 0.04 GB
    # in all with a vocabulary of 4096.
    memory=MemoryModel(
        load_copies=Band(1, 1, 1.05),
        run_copies=Band(1, 1, 1.05),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.04e9, 0.11e9, 0.2e9),
        kv_element_bytes=2,
    ),
)
