"""What @litert-lm/core 0.17.1 costs on WebAssembly: data, each with where it is from.

Measured with Chromium 156 on a 2-core x86-64 machine that was busy with other work, in single loads
of gemma-3-270m with fewer layers and a smaller vocabulary: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.recipe import (
    FIRST_TOKEN_TERMS,
    LOAD_TERMS,
    MEMORY_TERMS,
    WASM32_BYTES,
    EngineRecipe,
    Factors,
    Kernels,
    of_each,
)
from results.observation import Quantity

QUANTISATIONS: Final = ("int8", "int4", "fp32")

# Prompts are padded to the tokens of the only prefill signature.
PREFILL_TOKENS: Final = 128

_BESIDE: Final = ("small", "operations", "attention", "fixed_cpu", "fixed_cores")
_MATRICES: Final = of_each("matrix", QUANTISATIONS)
_PRODUCTS: Final = of_each("product", QUANTISATIONS)

LITERT_LM_WASM: Final = EngineRecipe(
    key="litert-lm/wasm",
    name="litert-lm/wasm",
    backend="wasm",
    # XNNPACK's products of integers, with the input rounded to int8, at one row and at many.
    kernels={
        "int8": Kernels("simd_int8", "simd_int8", "simd_int8"),
        "int4": Kernels("simd_int4", "simd_int4", "simd_int4"),
        "fp32": Kernels("stream", "stream", "gemm_m64"),
    },
    terms={
        Quantity.DECODE: (*_MATRICES, *of_each("body", QUANTISATIONS), *_BESIDE),
        Quantity.PREFILL: (*_PRODUCTS, *of_each("head", QUANTISATIONS), *_BESIDE),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        # A belief, as the kernels are newer than the loads: two of gemma-3-270m in int8 decoded 5
        # times as fast as `dot_int8` says, and `simd_int8` has 7 times the rate of that; 0.7 ms a
        # token with 6 layers of width 256, of which 1.6 MB of weights are 0.2 ms.
        Quantity.DECODE: Factors(
            {**dict.fromkeys(_MATRICES, 1.2), "operations": 2.0}, low=0.4, high=4
        ),
        Quantity.PREFILL: Factors(
            {**dict.fromkeys(_PRODUCTS, 0.9), "operations": 0.5}, low=0.25, high=3
        ),
        # A belief, from 0.28 GB in 6.6 s (a file of LiteRT-torch's), and 0.04 GB in 7 s when busy.
        Quantity.LOAD: Factors({"bytes": 12.5, "fixed": 2.0}, low=0.35, high=2.6),
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.0}, low=0.25, high=3),
        # Renderer and GPU process peaked at 1.73 GB for a file of 0.277 GB (once 1.18 for the
        # renderer alone); the renderer at 0.349 and 0.467 GB for files of 0.037 and 0.078 GB.
        Quantity.MEMORY: Factors({"file": 4.8, "kv": 1.0, "fixed": 0.35}, low=0.58, high=1.2),
    },
    # Nodes of the graph for Gemma 3, which has the most.
    operations_per_layer=81,
    operations_fixed=15,
    prefill_multiple=PREFILL_TOKENS,
    heap_bytes=WASM32_BYTES,
    # The engine holds the file and, packed by XNNPACK, all matrices for each signature that uses
    # them: those of the layers for prefill and for decode, the head for decode.
    heap_file=2.4,
)
