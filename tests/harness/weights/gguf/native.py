"""Native llama.cpp (xllamacpp), as a yardstick for files and tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import xllamacpp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.weights.artifact import Artifact

CONTEXT = 128


class Native:
    """A loaded model, one thread, everything on the CPU."""

    def __init__(self, artifact: Artifact, *, exact: bool = False) -> None:
        """Load it; `exact` keeps keys and values in fp32 and attention unfused."""
        params = xllamacpp.CommonParams()
        params.model.path = str(artifact.entry_path)
        params.n_ctx = CONTEXT
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.warmup = False
        params.fit_params = False
        params.verbosity = -1
        if exact:
            params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_F32
            params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._server = xllamacpp.Server(params)

    def _complete(self, prompt: Sequence[int] | str, count: int, probabilities: int) -> Any:
        request = {
            "prompt": prompt if isinstance(prompt, str) else list(prompt),
            "max_tokens": count,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
            "n_probs": probabilities,
        }
        answer = self._server.handle_completions(request)
        return answer["choices"][0]["logprobs"]["content"]

    def greedy(self, prompt: Sequence[int] | str, count: int) -> list[int]:
        """The likeliest tokens after a prompt, given as ids or as text."""
        return [int(token["id"]) for token in self._complete(prompt, count, 1)]

    def log_probabilities(self, prompt: Sequence[int], vocabulary: int) -> list[float]:
        """Of each id after a prompt; minus infinity for those that it does not name."""
        [token] = self._complete(prompt, 1, vocabulary)
        found = {int(entry["id"]): float(entry["logprob"]) for entry in token["top_logprobs"]}
        return [found.get(number, -math.inf) for number in range(vocabulary)]
