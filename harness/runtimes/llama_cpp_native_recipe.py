"""What llama.cpp costs natively: data, each with where it is from. Speeds are not predicted.

Measured with xllamacpp 2026.10.11549 on a 2-core x86-64 machine with AVX2 that was busy with other
work: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.recipe import LOAD_TERMS, MEMORY_TERMS, EngineRecipe, Factors
from results.observation import Quantity

QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16")

LLAMA_CPP: Final = EngineRecipe(
    key="llama.cpp/native",
    name="llama.cpp/native",
    # The side of a report that is looked at.
    backend="wasm",
    kernels=dict.fromkeys(QUANTISATIONS),
    terms={Quantity.LOAD: LOAD_TERMS, Quantity.MEMORY: MEMORY_TERMS},
    defaults={
        # 0.29 GB in 1.1 to 6.9 s (9 loads), 1.55 GB in 6.2 and 9.2 s.
        Quantity.LOAD: Factors({"bytes": 5.0, "fixed": 0.3}, low=0.25, high=4.6),
        # Peaks of 0.335 and 0.637 GB for weights of 0.235 and 0.536 GB (gemma-3-270m in q4_0 and
        # fp16), 0.386 to 0.390 GB for 0.285 GB (q8_0, 5 loads) and 1.672 GB for 1.545 GB (gemma-2b
        # in q4_k, twice): one copy, and between 0.10 and 0.13 GB for Python, the vocabulary and
        # buffers; 0.04 GB in all with a vocabulary of 4096.
        Quantity.MEMORY: Factors({"file": 1.0, "kv": 1.0, "fixed": 0.11}, low=0.85, high=1.2),
    },
    kv_element_bytes=2,
)
