"""What onnxruntime-web 1.30 costs on top of a device's speed: data, each with where it is from.

Measured with Chromium 156 on a 2-core x86-64 machine without a GPU, with models of random weights
(gemma-3-270m, gemma-3-1b, gemma-2b, gemma-2-2b), mostly single runs on a machine that was not idle.
The bounds are what was seen, or, where it says so, a belief.
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

# Nodes of the synthetic Gemma 3 graph: 20 a layer, 12 around them.
_OPERATIONS_PER_LAYER: Final = 20
_OPERATIONS_FIXED: Final = 12

_INTEGERS: Final = ("int4", "int8")
_BESIDE: Final = ("operations", "barrier", "attention", "serial", "fixed_cpu", "fixed_cores")
_WEBGPU_QUANTISATIONS: Final = ("int4", "int8", "fp16")
_BESIDE_WEBGPU: Final = ("operations", "encode", "submit", "fixed", "fixed_cpu", "fixed_cores")

# MatMulNBits has no fused kernel on WebAssembly: every matrix is expanded to fp32 before every
# product (ComputeBUnpacked in contrib_ops/cpu/quantization/matmul_nbits.cc of onnxruntime).
_WASM: Final = EngineRecipe(
    key="onnxruntime-web/wasm",
    name="onnxruntime-web/wasm",
    backend="wasm",
    kernels={
        "int4": Kernels("int4_layer", "int4_head", "gemm_m16", expand="dequant_int4"),
        # Expansion alone is measured for int4 only: int8's with its one-row product stands for it.
        "int8": Kernels("int8_layer", "int8_head", "gemm_m16", expand="int8_layer"),
    },
    terms={
        Quantity.DECODE: (
            *of_each("matrix", _INTEGERS),
            *of_each("alone", _INTEGERS),
            *_BESIDE,
        ),
        Quantity.PREFILL: (
            *of_each("product", _INTEGERS),
            *of_each("expand", _INTEGERS),
            *of_each("head", _INTEGERS),
            *_BESIDE,
        ),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        # An operation of its own takes 3 to 15 us: 0.31 to 0.53 ms a layer at width 128 (2 against
        # 22 layers), 0.24 ms of it its matrices; one of the probe's chain 0.65 us on that machine.
        # The bounds are a belief: seconds were within 0.5 to 1.7 times, never on an idle machine.
        Quantity.DECODE: Factors(
            {"matrix.int4": 1.0, "matrix.int8": 1.0, "operations": 10, "fixed_cpu": 1.4},
            low=0.6,
            high=2.2,
        ),
        Quantity.PREFILL: Factors(
            {
                **dict.fromkeys(of_each("product", _INTEGERS), 1.0),
                **dict.fromkeys(of_each("expand", _INTEGERS), 1.0),
                **dict.fromkeys(of_each("head", _INTEGERS), 1.0),
                "operations": 1.0,
                "fixed_cpu": 5.0,
            },
            low=0.6,
            high=2.2,
        ),
        # From a server on the same machine: files of 0.21, 0.68, 1.64 and 1.72 GB in 1.8, 2.9, 5.6
        # to 6.3 and 9.7 s; on a busier machine up to twice as long.
        Quantity.LOAD: Factors({"bytes": 4.0, "fixed": 1.0}, low=0.65, high=2.3),
        # First prefill over the second at the same length: 1.0 to 1.9 (270m and 1b).
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.4}, low=0.45, high=3.2),
        # The file, and the vocabulary's table as fp32. Peak renderer 1.211, 2.225, 4.074, 4.075 and
        # 4.432 GB for files of 0.206, 0.681, 1.641 (twice) and 1.717 GB, and 1.355 GB for 0.340 GB
        # in int8: in each the rest is between 0.33 and 0.36 GB, and the GPU process, idle, adds
        # 0.10 GB.
        Quantity.MEMORY: Factors(
            {"file": 1.0, "largest": 1.0, "kv": 1.0, "fixed": 0.44}, low=0.95, high=1.1
        ),
    },
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    heap_bytes=WASM32_BYTES,
    heap_largest=1.0,
)

# Plain float16 weights become fp32 constants when the session is made: slow to load and large, but
# then several times faster than int4, which is expanded again for every token. One point: a file
# of 0.553 GB took 13 s, peaked at 3.28 GB and stayed at 2.67 GB (gemma-3-270m, 2 threads).
_WASM_FP16: Final = replace(
    _WASM,
    key="onnxruntime-web/wasm:fp16",
    kernels={"fp16": Kernels("fp16_head", "fp16_head", "gemm_m16")},
    terms={
        **_WASM.terms,
        Quantity.DECODE: ("matrix.fp16", "alone.fp16", *_BESIDE),
        Quantity.PREFILL: ("product.fp16", "head.fp16", *_BESIDE),
    },
    defaults={
        **_WASM.defaults,
        Quantity.DECODE: Factors(
            {"matrix.fp16": 1.0, "operations": 10, "fixed_cpu": 1.4}, low=0.5, high=2.4
        ),
        Quantity.PREFILL: Factors(
            {"product.fp16": 1.0, "head.fp16": 1.0, "operations": 1.0, "fixed_cpu": 5.0},
            low=0.5,
            high=2.4,
        ),
        Quantity.LOAD: Factors({"bytes": 22, "fixed": 1.0}, low=0.4, high=1.7),
        Quantity.MEMORY: Factors({"file": 5.3, "kv": 1.0, "fixed": 0.44}, low=0.84, high=1.15),
    },
    heap_largest=0.0,
)

# fp32 is the same products without the conversion: they read four bytes a weight, which the
# probe's stream stands for. One load on a busy machine: a file of 1.089 GB took 22.8 s, peaked at
# 3.27 GB and stayed at 2.25 GB (gemma-3-270m, 2 threads; 4.0 tokens/s beside 3.4 in fp16). The
# factors are those of fp16 on a quiet machine (7.6 tokens/s): no quiet load of fp32 was seen.
_WASM_FP32: Final = replace(
    _WASM,
    key="onnxruntime-web/wasm:fp32",
    kernels={"fp32": Kernels("stream", "stream", "gemm_m16")},
    terms={
        **_WASM.terms,
        Quantity.DECODE: ("matrix.fp32", "alone.fp32", *_BESIDE),
        Quantity.PREFILL: ("product.fp32", "head.fp32", *_BESIDE),
    },
    defaults={
        **_WASM.defaults,
        Quantity.DECODE: Factors(
            {"matrix.fp32": 1.7, "operations": 17, "fixed_cpu": 2.3}, low=0.5, high=3
        ),
        Quantity.PREFILL: Factors(
            {"product.fp32": 1.7, "head.fp32": 1.7, "operations": 1.7, "fixed_cpu": 8.0},
            low=0.5,
            high=3,
        ),
        Quantity.LOAD: Factors({"bytes": 12.5, "fixed": 1.0}, low=0.4, high=2.1),
        Quantity.MEMORY: Factors({"file": 2.6, "kv": 1.0, "fixed": 0.44}, low=0.9, high=1.17),
    },
    heap_largest=0.0,
)

# One fused product a matrix. On SwiftShader the first version was right for gemma-2b (33 to 34 s a
# token) and 8 times too fast for gemma-3-270m (15 s instead of 2 s), whose small operations the
# chain kernel does not stand for there. The bounds are as wide as those two.
_WEBGPU: Final = EngineRecipe(
    key="onnxruntime-web/webgpu",
    name="onnxruntime-web/webgpu",
    backend="webgpu",
    kernels={
        "int4": Kernels("gemv_int4", "gemv_int4", "matmul"),
        "int8": Kernels("gemv_int8", "gemv_int8", "matmul"),
        "fp16": Kernels("gemv_f16", "gemv_f16", "matmul"),
    },
    terms={
        Quantity.DECODE: (
            *of_each("matrix", _WEBGPU_QUANTISATIONS),
            *of_each("head", _WEBGPU_QUANTISATIONS),
            *_BESIDE_WEBGPU,
        ),
        Quantity.PREFILL: (
            *of_each("product", _WEBGPU_QUANTISATIONS),
            *of_each("head", _WEBGPU_QUANTISATIONS),
            *_BESIDE_WEBGPU,
        ),
        Quantity.LOAD: LOAD_TERMS,
        Quantity.FIRST_TOKEN: FIRST_TOKEN_TERMS_WEBGPU,
        Quantity.MEMORY: MEMORY_TERMS,
    },
    defaults={
        Quantity.DECODE: Factors(
            {
                **dict.fromkeys(of_each("matrix", _WEBGPU_QUANTISATIONS), 1.0),
                "operations": 1.0,
                "fixed": 2.0,
            },
            low=0.5,
            high=8,
        ),
        Quantity.PREFILL: Factors(
            {
                **dict.fromkeys(of_each("product", _WEBGPU_QUANTISATIONS), 1.0),
                **dict.fromkeys(of_each("head", _WEBGPU_QUANTISATIONS), 1.0),
                "operations": 1.0,
                "fixed": 2.0,
            },
            low=0.5,
            high=8,
        ),
        Quantity.LOAD: Factors({"bytes": 3.3, "fixed": 1.5}, low=0.5, high=4),
        Quantity.FIRST_TOKEN: Factors({"prefill": 2.0}, low=0.25, high=16),
        # Renderer and GPU process together peaked at 1.70 GB for a file of 0.206 GB (gemma-3-270m)
        # and at 3.82 GB for weights of 1.63 GB (gemma-2b, layers sharing their bytes): two points.
        Quantity.MEMORY: Factors({"file": 1.48, "kv": 1.0, "fixed": 1.4}, low=0.72, high=1.35),
    },
    operations_per_layer=_OPERATIONS_PER_LAYER,
    operations_fixed=_OPERATIONS_FIXED,
    binds_whole_tensors=True,
)

# One NVIDIA H200 (Chromium 156, Vulkan, 16 cores at 2.1 GHz), 3 loads of each model: 13.5 to 17 ms
# a token for gemma-3-270m and 18 to 19 for gemma-2b, most of it between the GPU's commands.
# Operations of the chain took 4.3 us there.
_WEBGPU_GPU: Final = replace(
    _WEBGPU,
    key="onnxruntime-web/webgpu:gpu",
    rows_together=True,
    defaults={
        Quantity.DECODE: Factors(
            {
                **dict.fromkeys(of_each("matrix", _WEBGPU_QUANTISATIONS), 1.0),
                "operations": 4.5,
                "fixed": 8.0,
            },
            low=0.5,
            high=2,
        ),
        # 18 to 22 ms for 16 tokens of gemma-3-270m, 44 of gemma-2b, and 92 ms for 512 of those.
        Quantity.PREFILL: Factors(
            {
                **dict.fromkeys(of_each("product", _WEBGPU_QUANTISATIONS), 1.25),
                **dict.fromkeys(of_each("head", _WEBGPU_QUANTISATIONS), 1.25),
                "operations": 5.6,
                "fixed": 10.0,
            },
            low=0.5,
            high=3.2,
        ),
        # Files of 0.17 and 1.45 GB in 1.2 to 1.8 and 3.0 to 4.0 s.
        Quantity.LOAD: Factors({"bytes": 1.33, "fixed": 1.2}, low=0.4, high=3),
        # 19 to 21 pipelines, each 0.8 to 1.6 times as long as the probe's mean.
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.0, "pipelines": 0.24}, low=0.45, high=2.2),
        # Renderer and GPU process 1.02 and 3.11 GB for files of 0.17 and 1.45 GB.
        Quantity.MEMORY: Factors({"file": 1.64, "kv": 1.0, "fixed": 0.74}, low=0.75, high=1.4),
    },
)


def engine_recipe(backend: str, quantisation: str, *, gpu: bool) -> EngineRecipe:
    """The recipe of the engine on a backend, for weights stored in that way."""
    if backend == "webgpu":
        return _WEBGPU_GPU if gpu else _WEBGPU
    return {"fp16": _WASM_FP16, "fp32": _WASM_FP32}.get(quantisation, _WASM)
