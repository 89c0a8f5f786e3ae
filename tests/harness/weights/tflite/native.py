"""The native engines, for tests: LiteRT for a layer, LiteRT-LM for a whole decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import litert_lm
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from harness.weights.tokenizer import ids_of, text_of

if TYPE_CHECKING:
    from harness.weights.artifact import Artifact

Floats = npt.NDArray[np.float32]


def run_layer(artifact: Artifact, inputs: dict[str, Floats]) -> Floats:
    """The layer's output `[tokens, hidden]`, by XNNPACK."""
    interpreter = Interpreter(str(artifact.entry_path))
    interpreter.allocate_tensors()
    output: Floats = interpreter.get_signature_runner("layer")(**inputs)["hidden"][0]
    return output


def greedy(artifact: Artifact, prompt: list[int], count: int) -> list[int]:
    """The `count` tokens that LiteRT-LM makes of `prompt`, before which it puts `<bos>`."""
    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    engine = litert_lm.Engine(
        str(artifact.entry_path),
        backend=litert_lm.Backend.CPU(thread_count=2),
        max_num_tokens=128,
        cache_dir=":nocache",
    )
    with (
        engine,
        engine.create_session(apply_prompt_template=False, max_output_tokens=count) as session,
    ):
        session.run_prefill([text_of(prompt)])
        made = [response.texts[0] for response in session.run_decode_async()]
    return ids_of("".join(made))
