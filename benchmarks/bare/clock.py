"""Times one engine that is driven by its own interface; run by the scripts beside it.

The job comes as one line of JSON on stdin, the result goes as one to stdout. Nothing of the harness
is used, but for reading the ids off a text, so that both can be compared.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    OnIds = Callable[[list[int]], None]
    # The prompt, how many tokens, and who is told the ids that came together; returns how many
    # tokens the engine made of the prompt.
    Generate = Callable[[dict[str, Any], int, OnIds], int]


def main(load: Callable[[dict[str, Any]], Generate]) -> None:
    """Time `load` and what it gives back: once cold, and once more for one token."""
    # Libraries print to what they think is stdout.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    began = time.perf_counter()
    generate = load(job)
    result: dict[str, Any] = {"loadMs": (time.perf_counter() - began) * 1000}
    result |= timed(generate, job["prompt"], job["outputTokens"])
    warm = result["firstMs"] <= job["warmLimitMs"]
    result["warmMs"] = timed(generate, job["prompt"], 1)["firstMs"] if warm else None
    print(json.dumps(result), file=answer, flush=True)


def timed(generate: Generate, prompt: dict[str, Any], count: int) -> dict[str, Any]:
    """One call: the ids, and milliseconds a token."""
    tokens: list[int] = []
    token_ms: list[float] = []
    first_ms: float | None = None
    since = time.perf_counter()

    def on_ids(ids: list[int]) -> None:
        nonlocal since, first_ms
        ms = (time.perf_counter() - since) * 1000
        first_ms = ms if first_ms is None else first_ms
        tokens.extend(ids)
        # What came together shares the time since the last batch.
        token_ms.extend(ms / len(ids) for _ in ids)
        since = time.perf_counter()

    prompt_tokens = generate(prompt, count, on_ids)
    return {
        "tokens": tokens,
        "tokenMs": token_ms,
        "firstMs": first_ms,
        "promptTokens": prompt_tokens,
    }
