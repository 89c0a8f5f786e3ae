"""llama.cpp by xllamacpp's own interface; greedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xllamacpp

from benchmarks.bare.clock import main

if TYPE_CHECKING:
    from benchmarks.bare.clock import Generate, OnIds


def load(job: dict[str, Any]) -> Generate:
    """The model in a server without its HTTP side."""
    config = job["config"]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = config["model"]
    parameters.n_gpu_layers = 0
    parameters.n_parallel = 1
    parameters.n_ctx = len(job["prompt"]["ids"]) + job["outputTokens"] + 1
    parameters.cpuparams.n_threads = config["threads"]
    parameters.cpuparams_batch.n_threads = config["threads"]
    parameters.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    parameters.warmup = False
    parameters.fit_params = False
    parameters.cache_prompt = False
    server = xllamacpp.Server(parameters)

    def generate(prompt: dict[str, Any], count: int, on_ids: OnIds) -> int:
        usage: dict[str, int] = {}

        def take(chunk: dict[str, Any]) -> None:
            for choice in chunk.get("choices", ()):
                entries = (choice.get("logprobs") or {}).get("content", ())
                if ids := [int(entry["id"]) for entry in entries]:
                    on_ids(ids)
            usage.update(chunk.get("usage") or {})

        server.handle_completions(
            {
                "prompt": prompt["ids"],
                "n_predict": count,
                "ignore_eos": True,
                "stream": True,
                "samplers": ["top_k"],
                "top_k": 1,
                "logprobs": 1,
                "post_sampling_probs": True,
            },
            take,
        )
        return usage["prompt_tokens"]

    return generate


if __name__ == "__main__":
    main(load)
