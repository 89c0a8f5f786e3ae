"""What LiteRT-LM costs natively: data, each with where it is from. Speeds are not predicted.

Measured with litert-lm-api 0.18.1 on a 2-core x86-64 machine with AVX2 that was busy with other
work: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.recipe import LOAD_TERMS, MEMORY_TERMS, EngineRecipe, Factors
from results.observation import Quantity

QUANTISATIONS: Final = ("int8", "int4", "fp32")

LITERT_LM_NATIVE: Final = EngineRecipe(
    key="litert-lm/native",
    name="litert-lm/native",
    # The side of a report that is looked at.
    backend="wasm",
    kernels=dict.fromkeys(QUANTISATIONS),
    terms={Quantity.LOAD: LOAD_TERMS, Quantity.MEMORY: MEMORY_TERMS},
    defaults={
        # 0.28 GB in 1.3 to 2.4 s (4 loads), 1.01 GB in 5.0 s, 1.39 GB in 23 s.
        Quantity.LOAD: Factors({"bytes": 5.0, "fixed": 0.5}, low=0.4, high=4.5),
        # Peaks of 0.545, 0.844 (3 loads), 2.926 and 4.039 GB for files of 0.149, 0.277, 1.011 and
        # 1.385 GB: 2.8 times the file, and 0.06 to 0.12 GB. One of these copies is the mapped file,
        # which the kernel can take back: gemma-3-270m (0.277 GB) was killed in 450 MiB and ran in
        # 700.
        Quantity.MEMORY: Factors({"file": 2.85, "kv": 1.0, "fixed": 0.1}, low=0.6, high=1.2),
    },
)
