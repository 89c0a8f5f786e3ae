"""What MediaPipe's engine (tasks-genai 0.10.29) costs on top of a device's speed.

In software measured with Chromium 156 and SwiftShader on a 2-core x86-64 machine without a GPU,
with models of random weights, one load each, on a machine that was not idle. On a GPU measured with
one NVIDIA H200 (Chromium 156, Vulkan, 16 cores at 2.1 GHz), 3 or 4 loads of each model. The bands
are what was seen, or, where it says so, a belief.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.probe.predict import Band, DecodeKernels, EngineCost, MemoryModel, PrefillKernels

# One fused product a matrix; see onnxruntime_web_cost.py on why int4's stands for int8's too.
_GEMV: Final = DecodeKernels(body="gemv_int4", head="gemv_int4")
_QUANTISATIONS: Final = ("int4", "int8")

_COST: Final = EngineCost(
    name="mediapipe/webgpu",
    backend="webgpu",
    decode=dict.fromkeys(_QUANTISATIONS, _GEMV),
    prefill=dict.fromkeys(_QUANTISATIONS, PrefillKernels(product="matmul")),
    # A belief: norms, sums and activations are fused into the products around them.
    operations_per_layer=14,
    operations_fixed=8,
    run_ms=Band(1, 2, 6),
    # Files of 0.66, 1.53, 2.63 and 1.8 GB in 9.4, 9.9, 17.3 and 17.7 s.
    load_bytes_per_s=Band(0.08e9, 0.17e9, 0.6e9),
    # Its WebAssembly has 27 MB. A tiny model took 1.5 to 8 s, as busy as the machine was.
    load_fixed_s=Band(0.8, 1.5, 8),
    # The first prompt compiles its shaders: 10 s of processor time for a model of two layers.
    first_run=Band(1, 2, 6),
    # Measured over predicted, one load each on a quiet machine, 16 tokens of prompt: decode 4.1 for
    # gemma-2b and 2.1 for gemma-3-270m (2.3 on LiteRT-LM). The probe has one GEMV, and SwiftShader
    # runs the engine's better. What a real GPU makes of it is not known.
    accuracy=Band(0.5, 2.8, 6),
    # The same loads: 4.3, 0.86 and 0.87, with the first use of everything in it.
    prefill_accuracy=Band(0.4, 1.6, 6),
    # Renderer and GPU process together peaked at 1.87, 2.62, 4.61 and 5.64 GB for files of 0.28,
    # 0.66, 1.53 and 2.63 GB; the first three are a line, the last (Gemma 4) has tables off the GPU.
    # Without what it keeps for going back in a prompt (as it is run here) 3.21 GB for 1.35 GB.
    memory=MemoryModel(
        load_copies=Band(1.6, 2.2, 2.4),
        run_copies=Band(1.6, 2.2, 2.4),
        expanded=Band(0, 0, 0),
        base_bytes=Band(0.9e9, 1.2e9, 1.5e9),
    ),
    # `above_limits` in mediapipe.py knows the exact sizes of tensors, which are of several widths.
    binds_whole_tensors=False,
)


# On a GPU a token is bound by what the engine does between its commands, whatever the model: 11.1
# to 11.9 ms for gemma-3-270m, 10.6 to 15.8 for gemma-2b, of which the GPU's share is 1 to 3 ms.
_GPU: Final = replace(
    _COST,
    run_ms=Band(3, 8, 16),
    operation_us=Band(3, 10, 25),
    rows_together=True,
    # Files of 0.24 and 1.35 GB in 1.5 to 2.3 and 2.7 to 3.3 s.
    load_bytes_per_s=Band(0.2e9, 1.1e9, 2e9),
    load_fixed_s=Band(0.8, 1.6, 8),
    # 86 to 121 pipelines, each 0.5 to 1 times as long as the probe's mean.
    pipelines=Band(45, 75, 160),
    first_run=Band(1, 1, 2),
    accuracy=Band(0.5, 1, 2),
    # 66 to 87 ms for 17 tokens, which are 3 steps more, 127 ms for 513.
    prefill_accuracy=Band(0.12, 0.5, 1.5),
    # Renderer and GPU process 1.25 and 1.79 GB for files of 0.24 and 1.35 GB: the weights are in
    # the GPU's own memory. Where it has none they are in the host's: the upper bounds.
    memory=replace(
        _COST.memory,
        load_copies=Band(0.3, 0.5, 2.4),
        run_copies=Band(0.3, 0.5, 2.4),
        base_bytes=Band(0.9e9, 1.15e9, 1.5e9),
    ),
)


def engine_cost(*, gpu: bool = False) -> EngineCost:
    """The cost of the engine on a GPU or on one in software, however weights are stored."""
    return _GPU if gpu else _COST
