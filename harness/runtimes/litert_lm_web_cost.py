"""What LiteRT-LM for the web (@litert-lm/core 0.17.1) costs on top of a device's speed.

On WebGPU it has the same kernels as MediaPipe's engine, and loads the same weights. What differs
was seen in one load of a Gemma 4 of 2.63 GB: 13.8 s instead of 17.3 to load it, 4 s a token instead
of 3.7, a peak of 5.93 GB instead of 5.64. Conditions are those of mediapipe_cost.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.probe.predict import Band
from harness.runtimes.mediapipe_cost import engine_cost as mediapipe_cost

if TYPE_CHECKING:
    from harness.probe.predict import EngineCost


def engine_cost(*, gpu: bool = False) -> EngineCost:
    """The cost of the engine on a GPU or on one in software, however weights are stored."""
    base = mediapipe_cost(gpu=gpu)
    if gpu:
        # 70 to 92 tokens a second for 0.25 to 2 GB. It compiles 89 to 153 pipelines; renderer and
        # GPU process had 1.27, 2.07 and 3.64 GB for files of 0.25, 1.36 and 2.01 GB.
        return replace(
            base,
            name="litert-lm/webgpu",
            pipelines=Band(45, 80, 180),
            memory=replace(
                base.memory,
                load_copies=Band(0.6, 0.9, 2.5),
                run_copies=Band(0.6, 0.9, 2.5),
                base_bytes=Band(0.9e9, 1.1e9, 1.5e9),
            ),
        )
    return replace(
        base,
        name="litert-lm/webgpu",
        load_bytes_per_s=Band(0.08e9, 0.2e9, 0.6e9),
        memory=replace(base.memory, load_copies=Band(1.6, 2.2, 2.5)),
    )
