"""LiteRT-LM on the CPU of this machine, through the Python package litert-lm-api."""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from harness.engines.loop import ArtifactRefusedError, Log, Token, UnsupportedError, main
from harness.weights.tokenizer import ids_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engines.loop import Job, Prompt

# `E0000 00:00:17.9 1234 engine.cc:12] words`, and what belongs to it on the lines that follow.
_ERROR_LINE: Final = re.compile(r"^(?:[EF]\d{4} [^\]]*\]|└) *(?P<words>.+)$")
_PLACE: Final = re.compile(r"^ERROR: \[[^\]]*\]$|^=== Source Location")
_MEMORY: Final = re.compile(r"RESOURCE_EXHAUSTED|[Ff]ailed to allocate|[Oo]ut of memory|bad_alloc")
_NOT_THE_FILE: Final = re.compile(
    r"file size|Unknown model type|not found in the model|Invalid magic|Failed to parse"
)
_TOO_LONG: Final = re.compile(r"Exceeding the maximum number of tokens")


class LiteRtLm:
    """One model; a session a prompt, since a session keeps what it was told.

    The raw session is used, without the prompt's template: the prompt is taken as it is, behind
    the beginning-of-sequence token. Text goes in and comes out, so that tokens are read off the
    text (see `harness.weights.tokenizer`).
    """

    def __init__(self, job: Job) -> None:
        # Here, not above: a package that is missing or broken is an outcome of the job.
        self._package: Any = importlib.import_module("litert_lm")
        self._package.set_min_log_severity(self._package.LogSeverity.ERROR)
        self._config = job["config"]
        self._log = Log(job["log"])
        self._engine: Any = None

    def create(self, progress: Callable[[int, int], None]) -> None:
        """See `Engine.create`. The bytes are known to be read only once all are."""
        try:
            self._engine = self._package.Engine(
                self._config["model"],
                backend=self._package.Backend.CPU(thread_count=self._config["threads"]),
                # What was prepared for a file is kept beside it otherwise, and the next load is
                # another one.
                cache_dir=":nocache",
                # It counts tokens then.
                enable_benchmark=True,
            )
        except RuntimeError as error:
            raise explain(error, self._log.lines()) from error
        progress(self._config["bytes"], self._config["bytes"])

    def generate(self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]) -> int:
        """See `Engine.generate`."""
        try:
            came, counted = self._generate(prompt, count, on_tokens)
        except RuntimeError as error:
            raise explain(error, self._log.lines()) from error
        made = counted.last_decode_token_count
        if came != count or made != count:
            raise RuntimeError(
                f"{count} tokens were asked for; the engine made {made}, and {came} were read off"
            )
        return int(counted.last_prefill_token_count)

    def _generate(
        self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]
    ) -> tuple[int, Any]:
        """How many tokens were read off, and what the engine counted."""
        came = 0
        greedy = self._package.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0, seed=1)
        with self._engine.create_session(
            apply_prompt_template=False, sampler_config=greedy, max_output_tokens=count
        ) as session:
            session.run_prefill([prompt.text])
            for answer in session.run_decode_async():
                batch = tokens_of(answer.texts[0], words=self._config["words"])
                if batch:
                    on_tokens(batch)
                    came += len(batch)
            return came, session.get_benchmark_info()

    def dispose(self) -> None:
        """See `Engine.dispose`."""
        self._engine.close()


def tokens_of(piece: str, *, words: bool) -> list[Token]:
    """The tokens in a piece of the answer; a piece consists of whole tokens.

    Of a vocabulary other than the synthetic one nothing is known but that a piece is a token. In
    that one a greedy choice is a word, unless logits were not finite: then it is none.
    """
    if not words:
        return [Token(number=-1, finite=None)]
    return [Token(number=token, finite=token >= 0) for token in ids_of(piece)]


def explain(error: Exception, lines: list[str]) -> Exception:
    """What a failure means, by the engine's own words: its exceptions name only the call."""
    found = [line["words"] for text in lines if (line := _ERROR_LINE.match(text))]
    words = list(dict.fromkeys(line for line in found if not _PLACE.match(line)))
    message = "; ".join([*words[:4], str(error)])
    if _MEMORY.search(message):
        return MemoryError(f"out of memory: {message}")
    if _TOO_LONG.search(message):
        return UnsupportedError(message)
    if _NOT_THE_FILE.search(message):
        return ArtifactRefusedError(message)
    return RuntimeError(message)


if __name__ == "__main__":
    sys.exit(main(LiteRtLm))
