"""llama.cpp on the CPU of this machine, through the Python package xllamacpp.

Its threads wait for each other by spinning, which is the fastest way on a machine that does nothing
else and the slowest on a busy one: there a token of gemma-3-270m took 0.5 to 1.8 s instead of 0.02.
Shorter spinning (GOMP_SPINCOUNT=1000) helped there, but cost a quarter or more of prefill's speed
when nothing else ran, so it is left alone: a trial waits for a host at rest.
"""

from __future__ import annotations

import importlib
import re
import secrets
import sys
from typing import TYPE_CHECKING, Any, Final

from harness.engines.loop import ArtifactRefusedError, Log, Token, UnsupportedError, main
from harness.weights.tokenizer import FIRST_WORD

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engines.loop import Job, Prompt

# llama.cpp's own levels (common/log.h): errors only. They are the cause that exceptions lack.
_ERRORS: Final = 1
_LOG_SECONDS: Final = 1.0
# `0.00.162.969 E llama_model_load: error loading model: ...`: the time, the level, the function.
_ERROR_LINE: Final = re.compile(r"^[\d.]+ E (?P<words>.*)$")


class LlamaCpp:
    """One model in one context for one sequence; llama.cpp's server without its HTTP side.

    The package gives no access below the server. It listens on a port of 127.0.0.1 all the same:
    a random key keeps others out.
    """

    def __init__(self, job: Job) -> None:
        # Here, not above: a package that is missing or broken is an outcome of the job.
        self._package: Any = importlib.import_module("xllamacpp")
        self._config = job["config"]
        self._tokens = len(job["prompt"]["ids"]) + job["outputTokens"]
        self._log_path = job["log"]
        self._server: Any = None

    def create(self, progress: Callable[[int, int], None]) -> None:
        """See `Engine.create`. The bytes are known to be read only once all are."""
        log = Log(self._log_path)
        try:
            self._server = self._package.Server(self._parameters())
        except RuntimeError as error:
            said = log.wait_for("exiting due to", within=_LOG_SECONDS)
            raise _load_error(said, error) from error
        progress(self._config["bytes"], self._config["bytes"])

    def _parameters(self) -> Any:  # noqa: ANN401 - the package has no types
        parameters = self._package.CommonParams()
        parameters.model.path = self._config["model"]
        parameters.n_gpu_layers = 0
        parameters.n_parallel = 1
        parameters.n_ctx = self._tokens + 1
        parameters.cpuparams.n_threads = self._config["threads"]
        parameters.cpuparams_batch.n_threads = self._config["threads"]
        # Read, not mapped: mapped weights are cache of the file, which is charged to whoever read
        # it first, and taken back and read again where memory is short. A model of 0.29 GB ran
        # mapped within 300 MiB, charged with 0.11 GB; read, it is killed there.
        parameters.load_mode = self._package.llama_load_mode.LLAMA_LOAD_MODE_NONE
        # Nothing runs before it is measured, and nothing is kept from one prompt to the next.
        parameters.warmup = False
        parameters.fit_params = False
        parameters.cache_prompt = False
        parameters.cache_ram_mib = 0
        parameters.cache_idle_slots = False
        parameters.n_ctx_checkpoints = 0
        parameters.ui = False
        parameters.endpoint_slots = False
        parameters.api_keys = [secrets.token_hex(16)]
        parameters.verbosity = _ERRORS
        return parameters

    def generate(self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]) -> int:
        """See `Engine.generate`."""
        usage: dict[str, int] = {}
        failures: list[Exception] = []

        def take(chunk: dict[str, Any]) -> None:
            # What is raised in here is lost: the engine does not hand it on.
            try:
                if batch := tokens_of(chunk, words=self._config["words"]):
                    on_tokens(batch)
                usage.update(chunk.get("usage") or {})
            except Exception as error:  # noqa: BLE001 - raised again below
                failures.append(error)

        self._server.handle_completions(
            {
                "prompt": list(prompt.ids),
                "n_predict": count,
                "ignore_eos": True,
                "stream": True,
                "samplers": ["top_k"],
                "top_k": 1,
                # The ids come with probabilities only; after sampling there is one candidate left,
                # so that they cost nothing (before, it would be a sum over the vocabulary).
                "logprobs": 1,
                "post_sampling_probs": True,
            },
            take,
        )
        if failures:
            raise failures[0]
        made = usage.get("completion_tokens")
        if made != count:
            raise RuntimeError(f"{count} tokens were asked for, {made} came out")
        return usage["prompt_tokens"]

    def dispose(self) -> None:
        """See `Engine.dispose`."""
        self._server = None


def tokens_of(chunk: dict[str, Any], *, words: bool) -> list[Token]:
    """The tokens of one chunk of a completion: several where text was held back.

    Where logits are not finite the engine chooses the first token, with a probability of 1. Only
    the synthetic vocabulary (`words`) tells: there a greedy choice is a word, or a mistake.

    Raises:
        RuntimeError: the chunk is an error.
    """
    if error := chunk.get("error"):
        raise RuntimeError(f"{error.get('type')}: {error.get('message')}")
    found = []
    for choice in chunk.get("choices", ()):
        for entry in (choice.get("logprobs") or {}).get("content", ()):
            number = int(entry["id"])
            finite = number >= FIRST_WORD if words else None
            found.append(Token(number=-1 if finite is False else number, finite=finite))
    return found


def _load_error(lines: list[str], error: Exception) -> Exception:
    """What a failure to load means, by the engine's own words."""
    words = [found["words"] for line in lines if (found := _ERROR_LINE.match(line))]
    message = "; ".join(words[:3]) or str(error)
    if "allocat" in message or "insufficient memory" in message:
        return MemoryError(f"out of memory: {message}")
    if "unknown model architecture" in message:
        return UnsupportedError(message)
    if "error loading model" in message:
        return ArtifactRefusedError(message)
    return RuntimeError(message)


if __name__ == "__main__":
    sys.exit(main(LlamaCpp))
