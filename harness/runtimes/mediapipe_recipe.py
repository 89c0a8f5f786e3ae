"""What MediaPipe's engine (tasks-genai 0.10.29) costs on top of a device's speed.

In software measured with Chromium 156 and SwiftShader on a 2-core x86-64 machine without a GPU,
with models of random weights, one load each, on a machine that was not idle. On a GPU measured with
one NVIDIA H200 (Chromium 156, Vulkan, 16 cores at 2.1 GHz), 3 or 4 loads of each model. The bounds
are what was seen, or, where it says so, a belief.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.probe.recipe import (
    FIRST_TOKEN_TERMS_WEBGPU,
    LOAD_TERMS,
    MEMORY_TERMS,
    EngineRecipe,
    Factors,
    Kernels,
    of_each,
)
from results.observation import Quantity

# Keys and values are allocated for so many tokens, prompt and output together.
CONTEXT_TOKENS: Final = 1280

_QUANTISATIONS: Final = ("int4", "int8")
_BESIDE: Final = ("operations", "encode", "submit", "fixed", "fixed_cpu", "fixed_cores")
# A GPU in software is the processors: nothing there takes a time of its own.
_BESIDE_SOFTWARE: Final = tuple(term for term in _BESIDE if term != "fixed")
_MATRICES: Final = of_each("matrix", _QUANTISATIONS)
_HEADS: Final = of_each("head", _QUANTISATIONS)
_PRODUCTS: Final = (*of_each("product", _QUANTISATIONS), *_HEADS)

MEDIAPIPE: Final = EngineRecipe(
    key="mediapipe/webgpu",
    name="mediapipe/webgpu",
    backend="webgpu",
    # One fused product a matrix.
    kernels={
        "int4": Kernels("gemv_int4", "gemv_int4", "matmul"),
        "int8": Kernels("gemv_int8", "gemv_int8", "matmul"),
    },
    terms={
        Quantity.DECODE: (*_MATRICES, *_HEADS, *_BESIDE_SOFTWARE),
        Quantity.PREFILL: (*_PRODUCTS, *_BESIDE_SOFTWARE),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS_WEBGPU,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        # Seconds measured / those of the terms, one load each on a quiet machine, 16 tokens of
        # prompt: decode 0.24 for gemma-2b and 0.48 for gemma-3-270m (0.43 on LiteRT-LM):
        # SwiftShader runs the engine's products better than the probe's.
        Quantity.DECODE: Factors(
            {**dict.fromkeys(_MATRICES, 0.36), "operations": 0.36, "fixed_cores": 4},
            low=0.45,
            high=5.6,
        ),
        # The same loads: 0.23, 1.16 and 1.15, with the first use of everything in it.
        Quantity.PREFILL: Factors(
            {**dict.fromkeys(_PRODUCTS, 0.62), "operations": 0.62, "fixed_cores": 7},
            low=0.27,
            high=4,
        ),
        # Files of 0.66, 1.53, 2.63 and 1.8 GB in 9.4, 9.9, 17.3 and 17.7 s. Its WebAssembly has
        # 27 MB. A tiny model took 1.5 to 8 s, as busy as the machine was.
        Quantity.LOAD: Factors({"bytes": 5.9, "fixed": 1.5}, low=0.3, high=2.5),
        # The first prompt compiles its shaders: 10 s of processor time for a model of two layers.
        Quantity.FIRST_TOKEN: Factors({"prefill": 2.0}, low=0.2, high=8),
        # Renderer and GPU process together peaked at 1.87, 2.62, 4.61 and 5.64 GB for files of
        # 0.28, 0.66, 1.53 and 2.63 GB; the last (Gemma 4) has tables off the GPU. Without what it
        # keeps for going back in a prompt (as it is run here) 3.21 GB for 1.35 GB.
        Quantity.MEMORY: Factors({"file": 2.2, "kv": 1.0, "fixed": 1.15}, low=0.72, high=1.2),
    },
    # A belief: norms, sums and activations are fused into the products around them.
    operations_per_layer=14,
    operations_fixed=8,
    # In software a prompt of 4 takes as long as others say of 16: concluded from loads of three
    # models, and not from its source.
    prefill_multiple=16,
    context_tokens=CONTEXT_TOKENS,
    # `above_limits` in mediapipe.py knows the exact sizes of tensors, which are of several widths.
    binds_whole_tensors=False,
)

# On a GPU a token is bound by what the engine does between its commands, whatever the model: 11.1
# to 11.9 ms for gemma-3-270m, 10.6 to 15.8 for gemma-2b, of which the GPU's share is 1 to 3 ms.
MEDIAPIPE_GPU: Final = replace(
    MEDIAPIPE,
    key="mediapipe/webgpu:gpu",
    terms={
        **MEDIAPIPE.terms,
        Quantity.DECODE: (*_MATRICES, *_HEADS, *_BESIDE),
        Quantity.PREFILL: (*_PRODUCTS, *_BESIDE),
    },
    rows_together=True,
    prefill_multiple=1,
    defaults={
        Quantity.DECODE: Factors(
            {**dict.fromkeys(_MATRICES, 1.0), "operations": 3.3, "fixed": 8.0}, low=0.5, high=2
        ),
        # 66 to 87 ms for 17 tokens, which are 3 steps more, 127 ms for 513.
        Quantity.PREFILL: Factors(
            {**dict.fromkeys(_PRODUCTS, 2.0), "operations": 6.6, "fixed": 16}, low=0.3, high=4.2
        ),
        # Files of 0.24 and 1.35 GB in 1.5 to 2.3 and 2.7 to 3.3 s.
        Quantity.LOAD: Factors({"bytes": 0.91, "fixed": 1.6}, low=0.5, high=4),
        # 86 to 121 pipelines, each 0.5 to 1 times as long as the probe's mean.
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.0, "pipelines": 0.75}, low=0.5, high=2.2),
        # Renderer and GPU process 1.25 and 1.79 GB for files of 0.24 and 1.35 GB: the weights are
        # in the GPU's own memory. Where it has none they are in the host's: the upper bound.
        Quantity.MEMORY: Factors({"file": 0.5, "kv": 1.0, "fixed": 1.13}, low=0.7, high=2.6),
    },
)
