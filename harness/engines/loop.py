"""Runs one engine in this process: load, generation, each step announced before it begins.

The process gets a job as one line of JSON on stdin, and says what happens as lines of JSON on
stdout, in the words of the trial page (harness/web/static/engine.js is the same loop for pages).
Timings are taken here, on this process's own clock, so that no pipe is part of them.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Job = dict[str, Any]
    Emit = Callable[[dict[str, Any]], None]

TEXT_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Prompt:
    """The same prompt as token ids and as text."""

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """One token that came out.

    `number` is -1 where it is not known or its logit is not finite; `finite` is None where it
    is not known.
    """

    number: int
    finite: bool | None


class Engine(Protocol):
    """What the loop drives. Errors are any exception; see also the two below."""

    def create(self, progress: Callable[[int, int], None]) -> None:
        """Load the model; `progress(done, total)` in bytes, where it is known."""

    def generate(
        self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]
    ) -> int | None:
        """Exactly `count` tokens, greedily, from an empty context.

        `on_tokens` is called once for each batch that came together. Returns how many tokens the
        engine made of the prompt, where it says so.
        """

    def dispose(self) -> None:
        """Give everything back."""


class UnsupportedError(Exception):
    """The engine cannot do this at all; the message is the reason."""


class ArtifactRefusedError(Exception):
    """The file is not what the engine takes; the message is the engine's."""


def main(make: Callable[[Job], Engine]) -> int:
    """Serve the one job that comes on stdin; `make` imports the engine and prepares it.

    The exit code is 0 once the outcome has been said, whatever it was.
    """
    faulthandler.enable()
    emit = _emitter()
    job = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_owner, daemon=True).start()
    serve(job, make, emit)
    return 0


def _emitter() -> Emit:
    """A way to say events on stdout that nothing else can write to.

    Libraries print to what they think is stdout: it becomes stderr for them.
    """
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def emit(event: dict[str, Any]) -> None:
        events.write(json.dumps(event).encode() + b"\n")
        events.flush()

    return emit


def _end_with_owner() -> None:
    """Wait for the end of stdin: whoever asked is gone then, and nobody else would end this."""
    while os.read(0, 1 << 12):
        pass
    os._exit(1)


def serve(job: Job, make: Callable[[Job], Engine], emit: Emit) -> None:
    """Run one job; its outcome, errors included, is said by `emit`.

    Args:
        job: `prompt` (`ids` and `text`), `outputTokens`, `warmLimitMs`, and what the engine needs:
            `config` and `log`, the file that this process's stderr goes to.
        make: prepares the engine.
        emit: takes the events.
    """

    def post(kind: str, **fields: object) -> None:
        emit({"type": kind, **fields, "at_ms": _now_ms()})

    try:
        post("phase", name="start")
        engine = make(job)
        post("phase", name="create")
        engine.create(lambda done, total: post("progress", done=done, total=total))
        _generate(engine, job, post)
        engine.dispose()
        post("disposed")
    except UnsupportedError as error:
        post("unsupported", reason=_cut(error))
    except ArtifactRefusedError as error:
        post("artifact-refused", message=_cut(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is the outcome
        stack = "".join(traceback.format_exception(error))
        post("error", name=type(error).__name__, message=_cut(error), stack=_cut(stack))


def _generate(engine: Engine, job: Job, post: Callable[..., None]) -> None:
    """The cold prompt with all its tokens, and the same prompt again for its first one."""
    prompt = Prompt(ids=tuple(job["prompt"]["ids"]), text=job["prompt"]["text"])
    steps: list[float] = []
    finite: list[bool | None] = []
    since = _now_ms()

    def on_tokens(batch: list[Token]) -> None:
        nonlocal since
        ms = _now_ms() - since
        known = _all(token.finite for token in batch)
        post("tokens", ids=[token.number for token in batch], ms=ms, finite=known)
        if not steps:
            post("phase", name="decode")
        steps.append(ms)
        finite.extend(token.finite for token in batch)
        since = _now_ms()

    post("phase", name="first-token")
    since = _now_ms()
    counted = engine.generate(prompt, job["outputTokens"], on_tokens)
    if counted is not None:
        post("prompt", tokens=counted)
    # The same prompt again: what it takes less is first use. Where it took very long, the second
    # time would as well.
    if steps and steps[0] <= job["warmLimitMs"]:
        post("phase", name="warm")
        began, warm = _now_ms(), list[float]()
        engine.generate(prompt, 1, lambda _: warm.append(_now_ms() - began))
        post("warm", ms=warm[0] if warm else 0.0)
    post("done", tokens=len(finite), finite=_all(finite))


def _all(values: Iterable[bool | None]) -> bool | None:
    """What is known of all: false beats unknown, unknown beats true."""
    known = set(values)
    return False if False in known else None if None in known else True


def _now_ms() -> float:
    return time.perf_counter() * 1000


def _cut(value: object) -> str:
    return str(value)[:TEXT_CHARACTERS]


class Log:
    """What engines write to stderr, read back: their exceptions often do not say the cause."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._from = self._path.stat().st_size

    def lines(self) -> list[str]:
        """The lines since this object was made."""
        with self._path.open("rb") as file:
            file.seek(self._from)
            return file.read(1 << 20).decode("utf-8", "replace").splitlines()

    def wait_for(self, words: str, *, within: float) -> list[str]:
        """The lines, once one contains `words` (engines log from a thread of their own)."""
        end = time.monotonic() + within
        lines = self.lines()
        while time.monotonic() < end and not any(words in line for line in lines):
            time.sleep(0.01)
            lines = self.lines()
        return lines
