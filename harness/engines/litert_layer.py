"""One layer of a decoder on LiteRT (PyPI ai-edge-litert), in a process of its own.

Reads a JSON object from its standard input and writes one to its standard output:

    {"model": PATH, "shape": [...], "numbers": [...], "repeats": N}
    {"output": [...], "load_seconds": S, "seconds": [...]}

The input of that shape is filled with the numbers over and over again, as the page does it
(`harness/web/static/capabilities/litert.js`).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np


def run(model: str, shape: list[int], numbers: list[float], repeats: int) -> dict[str, Any]:
    """The layer's output, flattened, and how long it took: the first run apart."""
    # Native packages are an extra: what imports this module need not have it.
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415

    start = time.perf_counter()
    interpreter = Interpreter(model)
    interpreter.allocate_tensors()
    load_seconds = time.perf_counter() - start
    given = interpreter.get_input_details()[0]["index"]
    taken = interpreter.get_output_details()[0]["index"]
    interpreter.set_tensor(given, np.resize(np.array(numbers, np.float32), shape))
    interpreter.invoke()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    output = interpreter.get_tensor(taken).ravel().tolist()
    return {"output": output, "load_seconds": load_seconds, "seconds": seconds}


if __name__ == "__main__":
    json.dump(run(**json.load(sys.stdin)), sys.stdout)
