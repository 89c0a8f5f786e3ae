"""What LiteRT-LM for the web (@litert-lm/core 0.17.1) costs on top of a device's speed.

On WebGPU it has the same kernels as MediaPipe's engine, and loads the same weights. What differs
was seen in one load of a Gemma 4 of 2.63 GB: 13.8 s instead of 17.3 to load it, 4 s a token instead
of 3.7, a peak of 5.93 GB instead of 5.64. Conditions are those of mediapipe_recipe.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from harness.probe.recipe import EngineRecipe, Factors
from harness.runtimes.mediapipe_recipe import MEDIAPIPE, MEDIAPIPE_GPU
from results.observation import Quantity

LITERT_LM: Final[EngineRecipe] = replace(
    MEDIAPIPE,
    key="litert-lm/webgpu",
    name="litert-lm/webgpu",
    prefill_multiple=1,
    defaults={
        **MEDIAPIPE.defaults,
        Quantity.LOAD: Factors({"bytes": 5.0, "fixed": 1.5}, low=0.3, high=3),
        Quantity.MEMORY: Factors({"file": 2.2, "kv": 1.0, "fixed": 1.15}, low=0.72, high=1.25),
    },
)

# 70 to 92 tokens a second for 0.25 to 2 GB. It compiles 89 to 153 pipelines; renderer and GPU
# process had 1.27, 2.07 and 3.64 GB for files of 0.25, 1.36 and 2.01 GB.
LITERT_LM_GPU: Final[EngineRecipe] = replace(
    MEDIAPIPE_GPU,
    key="litert-lm/webgpu:gpu",
    name="litert-lm/webgpu",
    defaults={
        **MEDIAPIPE_GPU.defaults,
        Quantity.FIRST_TOKEN: Factors({"prefill": 1.0, "pipelines": 0.8}, low=0.5, high=2.2),
        Quantity.MEMORY: Factors({"file": 0.9, "kv": 1.0, "fixed": 1.08}, low=0.7, high=2.2),
    },
)
