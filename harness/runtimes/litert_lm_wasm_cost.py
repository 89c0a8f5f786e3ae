"""What @litert-lm/core 0.17.1 costs on WebAssembly: data, each with where it is from.

Measured with Chromium 156 on a 2-core x86-64 machine that was busy with other work, in single loads
of gemma-3-270m with fewer layers and a smaller vocabulary: good for memory, poor for times.
"""

from __future__ import annotations

from typing import Final

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels

QUANTISATIONS: Final = ("int8", "int4", "fp32")

# The engine holds the file and, packed by XNNPACK, all matrices for each signature that uses them:
# those of the layers for prefill and for decode, the head for decode.
_COPIES_IN_HEAP: Final = 2.4

COST: Final = EngineCost(
    name="litert-lm/wasm",
    backend="wasm",
    # Products of integers with the input rounded to int8, as the probe's `dot` kernels.
    decode={
        "int8": DecodeKernels(body="dot_int8", head="dot_int8"),
        "int4": DecodeKernels(body="dot_int4", head="dot_int4"),
        "fp32": DecodeKernels(body="stream", head="stream"),
    },
    # A prompt is padded to the 128 tokens of the only prefill signature: a shorter one takes as
    # long, which is not modelled.
    prefill=dict.fromkeys(QUANTISATIONS, PrefillKernels(product="gemm_m16")),
    # Nodes of the graph for Gemma 3, which has the most.
    operations_per_layer=81,
    operations_fixed=15,
    # 0.7 ms a token with 6 layers of width 256, of which 1.6 MB of weights are 0.2 ms.
    operation_us=Band(0.3, 1, 2),
    # A belief, from 0.28 GB in 6.6 s (a file of LiteRT-torch's), and 0.04 GB in 7 s when busy.
    load_bytes_per_s=Band(0.03e9, 0.08e9, 0.2e9),
    load_fixed_s=Band(1, 2, 5),
    # Two loads of gemma-3-270m int8 decoded 5.0 and 5.2 times as fast as the terms add up to.
    accuracy=Band(0.8, 5, 8),
    # A prompt of 16 at 0.2 of what they add up to, for the padding.
    prefill_accuracy=Band(0.1, 0.2, 1.5),
    # Renderer and GPU process peaked at 1.73 GB for a file of 0.277 GB (once 1.18 for the renderer
    # alone); the renderer at 0.349 and 0.467 GB for files of 0.037 and 0.078 GB.
    memory=MemoryModel(
        load_copies=Band(2.6, 4.8, 5.2),
        run_copies=Band(2.6, 4.8, 5.2),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.26e9, 0.35e9, 0.5e9),
    ),
    heap_bytes=int((1 << 32) / _COPIES_IN_HEAP),
)
