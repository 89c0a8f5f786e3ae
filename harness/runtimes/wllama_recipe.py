"""What wllama 3.8.1 costs on top of a device's speed: data, each with where it is from.

llama.cpp multiplies quantised weights with activations rounded to int8; the probe's `dot_` kernels
are copies of its generic loops, at one row and at many.

Speeds: single loads on 2-core x86-64 machines with 2 threads and Chromium 156, each against the
probe of the same trial (`dot_int8` 3.6 GB/s, `dot_int4` 1.4 GB/s where it was quiet).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.probe.recipe import (
    FIRST_TOKEN_TERMS,
    FIRST_TOKEN_TERMS_WEBGPU,
    LOAD_TERMS,
    MEMORY_TERMS,
    WASM32_BYTES,
    EngineRecipe,
    Factors,
    Kernels,
    of_each,
)
from results.observation import Quantity

QUANTISATIONS: Final = ("q4_k", "q8_0", "q4_0", "fp16", "fp32")

# Keys and values are allocated for so many tokens when a model is loaded, which is before the
# engine sees a prompt. Its own default is 1024.
CONTEXT_TOKENS: Final = 2048

_BESIDE: Final = ("small", "barrier", "vocabulary", "serial", "fixed_cpu", "fixed_cores")

WASM: Final = EngineRecipe(
    key="wllama/wasm",
    name="wllama/wasm",
    backend="wasm",
    kernels={
        "q4_k": Kernels("dot_q4_k", "dot_q4_k", "dot_q4_k"),
        "q8_0": Kernels("dot_int8", "dot_int8", "dot_int8"),
        "q4_0": Kernels("dot_int4", "dot_int4", "dot_int4"),
        "fp16": Kernels("fp16_head", "fp16_head", "fp16_head"),
        # Not measured: a belief.
        "fp32": Kernels("stream", "stream", "fp16_head"),
    },
    terms={
        Quantity.DECODE: (
            *of_each("matrix", QUANTISATIONS),
            *of_each("body", QUANTISATIONS),
            *_BESIDE,
        ),
        Quantity.PREFILL: (
            *of_each("product", QUANTISATIONS),
            *of_each("head", QUANTISATIONS),
            *_BESIDE,
        ),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        # Seconds measured / those of the matrices alone: q8_0 of gemma-3-270m 0.58 to 1.42, of
        # gemma-3-1b 0.53, of gemma-2b 0.51; q4_0 of gemma-3-1b 0.82 (others 0.77 to 0.9); fp16 of
        # gemma-3-270m 0.8 to 0.9. q4_k of gemma-2b 0.2 to 0.55 of
        # `dot_int4`, whose rate its own kernel has. The terms beside the matrices are a belief: of
        # a layer's dozen operations most wait for all threads.
        Quantity.DECODE: Factors(
            {
                "matrix.q4_k": 0.36,
                "matrix.q8_0": 1.1,
                "matrix.q4_0": 1.0,
                "matrix.fp16": 0.9,
                "matrix.fp32": 1.2,
                "small": 1.0,
                "barrier": 8.0,
            },
            low=0.4,
            high=2.2,
        ),
        # The same, a token of the prompt: q8_0 1.35 and 0.49, 0.44, 0.40; q4_0 0.84; q4_k 0.19 to
        # 0.33.
        Quantity.PREFILL: Factors(
            {
                "product.q4_k": 0.27,
                "product.q8_0": 0.8,
                "product.q4_0": 0.9,
                "product.fp16": 0.8,
                "product.fp32": 1.0,
                "small": 1.0,
                "barrier": 8.0,
            },
            low=0.4,
            high=2.2,
        ),
        # Files of 0.28, 1.07, 1.41 and 2.67 GB in 3.4, 6.4, 7.6 and 13.4 s; on a busy machine up to
        # four times as long.
        Quantity.LOAD: Factors({"bytes": 4.2, "fixed": 2.0}, low=0.4, high=3.5),
        # First prefill over the second at the same length: 1.0, 2.3 and 4.9 (gemma-3-270m).
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.8}, low=0.3, high=3.5),
        # Renderer and GPU process peaked at 1.01 to 1.08 and 2.97 to 2.99 GB for files of 0.291 and
        # 1.551 GB from the network (4 and 3 loads): 1.5 times the file and 0.6 GB, as pieces that
        # were read wait for the garbage collector. From a cache or a file 0.87 GB for 0.291 GB (4
        # loads). Less garbage: 3.54 GB for 2.67 GB.
        Quantity.MEMORY: Factors({"file": 1.5, "kv": 1.0, "fixed": 0.55}, low=0.7, high=1.2),
    },
    kv_element_bytes=2,
    context_tokens=CONTEXT_TOKENS,
    # It is built for memories with 64-bit addresses, and yet ends at 4 GiB.
    heap_bytes=WASM32_BYTES,
)

_GEMV: Final = {
    "q4_k": "gemv_int4",
    "q8_0": "gemv_int8",
    "q4_0": "gemv_int4",
    "fp16": "gemv_f16",
    "fp32": "gemv_f16",
}
_BESIDE_WEBGPU: Final = ("operations", "encode", "submit", "fixed", "fixed_cpu", "fixed_cores")

# One NVIDIA H200 (Chromium 156, Vulkan, shader-f16 allowed by a flag, 16 cores at 2.1 GHz), 3 loads
# of gemma-3-270m in q8_0 and of gemma-2b in q4_k: 30 to 32 and 26 ms a token, nearly all of it
# between the GPU's commands. Operations at 4.3 us on that GPU.
WEBGPU: Final = EngineRecipe(
    key="wllama/webgpu",
    name="wllama/webgpu",
    backend="webgpu",
    kernels={name: Kernels(gemv, gemv, "matmul") for name, gemv in _GEMV.items()},
    terms={
        Quantity.DECODE: (
            *of_each("matrix", QUANTISATIONS),
            *of_each("head", QUANTISATIONS),
            *_BESIDE_WEBGPU,
        ),
        Quantity.PREFILL: (
            *of_each("product", QUANTISATIONS),
            *of_each("head", QUANTISATIONS),
            *_BESIDE_WEBGPU,
        ),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS_WEBGPU,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        Quantity.DECODE: Factors(
            {
                **dict.fromkeys(of_each("matrix", QUANTISATIONS), 1.0),
                "operations": 5.6,
                "fixed": 21,
            },
            low=0.5,
            high=2,
        ),
        # 124 to 138 ms for 16 tokens, 0.5 s for 512.
        Quantity.PREFILL: Factors(
            {
                **dict.fromkeys(of_each("product", QUANTISATIONS), 4.3),
                **dict.fromkeys(of_each("head", QUANTISATIONS), 4.3),
                "operations": 24,
                "fixed": 91,
            },
            low=0.3,
            high=2.3,
        ),
        # Files of 0.29 and 1.55 GB in 4.4 to 6.5 and 7.8 to 10 s.
        Quantity.LOAD: Factors({"bytes": 2.0, "fixed": 5.0}, low=0.4, high=2.2),
        # The first prompt over the same once more: 3 to 4 times for 16 tokens, 2 for 512.
        Quantity.FIRST_TOKEN: Factors({"prefill": 3.0}, low=0.25, high=3),
        # Renderer and GPU process 1.76 and 3.47 GB for those files.
        Quantity.MEMORY: Factors({"file": 1.36, "kv": 1.0, "fixed": 1.3}, low=0.7, high=1.4),
    },
    # 12 a layer, as many as in llama.cpp's graph.
    operations_per_layer=12,
    operations_fixed=4,
    rows_together=True,
    kv_element_bytes=2,
    context_tokens=CONTEXT_TOKENS,
    binds_whole_tensors=True,
)

WEBGPU_GPU: Final = replace(WEBGPU, key="wllama/webgpu:gpu")
