"""LiteRT-LM by litert-lm-api's own interface; greedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import litert_lm

from benchmarks.bare.clock import main
from harness.weights.tokenizer import ids_of

if TYPE_CHECKING:
    from benchmarks.bare.clock import Generate, OnIds


def load(job: dict[str, Any]) -> Generate:
    """The engine; each prompt gets a session of its own."""
    config = job["config"]
    engine = litert_lm.Engine(
        config["model"],
        backend=litert_lm.Backend.CPU(thread_count=config["threads"]),
        cache_dir=":nocache",
        enable_benchmark=True,
    )
    greedy = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=1)

    def generate(prompt: dict[str, Any], count: int, on_ids: OnIds) -> int:
        with engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=count
        ) as session:
            session.run_prefill([prompt["text"]])
            for answer in session.run_decode_async():
                if ids := ids_of(answer.texts[0]):
                    on_ids(ids)
            return int(session.get_benchmark_info().last_prefill_token_count)

    return generate


if __name__ == "__main__":
    main(load)
