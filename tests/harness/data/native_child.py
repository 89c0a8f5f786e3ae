"""A native engine that dies in the way that it is told to: run as `python -m native_child`."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from harness.engines.loop import ArtifactRefusedError, Token, UnsupportedError, main

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.engines.loop import Job, Prompt


class Child:
    """`config`: `act`, at the beginning of `phase`, with what the act needs."""

    def __init__(self, job: Job) -> None:
        self._config = job["config"]
        self._calls = 0
        self._at("start")

    def _at(self, phase: str) -> None:
        if self._config.get("phase", "create") == phase and "act" in self._config:
            getattr(self, f"_{self._config['act']}")()

    def create(self, progress: Callable[[int, int], None]) -> None:
        # The tests' sign that the phase has begun, and then one that more is to come.
        progress(1, 2)
        self._at("create")
        progress(2, 2)

    def generate(self, prompt: Prompt, count: int, on_tokens: Callable[[list[Token]], None]) -> int:
        self._calls += 1
        self._at("first-token" if self._calls == 1 else "warm")
        for number in range(count):
            on_tokens([Token(number=300 + number, finite=True)])
            if number == 0 and self._calls == 1:
                self._at("decode")
        return len(prompt.ids) + 1

    def dispose(self) -> None:
        self._at("dispose")

    def _wait(self) -> None:
        while True:
            time.sleep(60)

    def _signal(self) -> None:
        os.kill(os.getpid(), self._config["number"])
        self._wait()

    def _exit(self) -> None:
        os._exit(self._config["code"])

    def _raise(self) -> None:
        raise RuntimeError("the engine gave up")

    def _memory(self) -> None:
        raise MemoryError

    def _huge(self) -> None:
        bytearray(1 << 60)

    def _refuse(self) -> None:
        raise ArtifactRefusedError("tensor 'x' is missing")

    def _unsupported(self) -> None:
        raise UnsupportedError("this engine has no such operator")

    def _noise(self) -> None:
        sys.stdout.write("a library prints\n")
        sys.stdout.flush()
        os.write(1, b'{"type": "done", "tokens": 9, "finite": true, "at_ms": 1}\n')

    def _touch(self) -> None:
        """Take memory, as a model that does not fit, until the kernel has enough of it."""
        kept = [bytearray(os.urandom(1 << 12)) * 256 for _ in range(1 << 12)]
        raise RuntimeError(f"{len(kept)} MiB were there")

    def _burn(self) -> None:
        """Use so much CPU time."""
        while time.process_time() < self._config["seconds"]:
            pass

    def _fork(self) -> None:
        """Leave a process that holds everything this one has open, and wait with it."""
        os.fork()
        self._wait()


if __name__ == "__main__":
    sys.exit(main(Child))
