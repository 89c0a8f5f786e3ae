"""The inference engines: one Python module and one small JavaScript adapter each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import unknown
from harness.runtimes import (
    litert_lm_native,
    litert_lm_wasm,
    litert_lm_web,
    llama_cpp_native,
    mediapipe,
    onnxruntime_web,
    wllama,
)

if TYPE_CHECKING:
    from harness.runtimes.base import Runtime

# A line an engine: the order is that of tables.
_ENGINES: tuple[Runtime, ...] = (
    *wllama.RUNTIMES,
    *onnxruntime_web.RUNTIMES,
    *mediapipe.RUNTIMES,
    *litert_lm_web.RUNTIMES,
    *litert_lm_wasm.RUNTIMES,
    *llama_cpp_native.RUNTIMES,
    *litert_lm_native.RUNTIMES,
)

BEST = ("wllama/wasm", "mediapipe/webgpu")
"""The best engines of a page: on processors, and on a GPU (in software where there is none)."""
"""The best engines of a page: on processors, and on a GPU (in software where there is none)."""

RUNTIMES: dict[str, Runtime] = {runtime.id: runtime for runtime in _ENGINES}


def find_runtime(name: str) -> Runtime:
    """The runtime of that id, such as `onnxruntime-web/wasm`.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    return RUNTIMES[name]
