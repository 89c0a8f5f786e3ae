"""The inference engines: one Python module and one small JavaScript adapter each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import unknown
from harness.runtimes import onnxruntime_web

if TYPE_CHECKING:
    from harness.runtimes.base import Runtime

# A line an engine: the order is that of tables.
_ENGINES = (*onnxruntime_web.RUNTIMES,)

RUNTIMES: dict[str, Runtime] = {runtime.id: runtime for runtime in _ENGINES}


def find_runtime(name: str) -> Runtime:
    """The runtime of that id, such as `onnxruntime-web/wasm`.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name not in RUNTIMES:
        raise unknown("runtime", name, RUNTIMES)
    return RUNTIMES[name]
