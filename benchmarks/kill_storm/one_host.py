"""One host: `pytest suites` on desktop profiles and a virtual phone, killed and gone on with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.kill_storm import ledger as books
from benchmarks.kill_storm.hosts import give_back, not_ready
from benchmarks.kill_storm.leftovers import Ground, leftovers
from results.fleet.requests import progress
from results.store import FILE_NAME, Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.kill_storm.crowd import Crowd

REPOSITORY: Final = Path(__file__).parents[2]
DEVICES: Final = "desktop,desktop-2g,pixel7"
# The cheapest trials that are real: a model of 277 MiB, two tokens.
CHEAP: Final = (
    "--model=gemma-3-270m", "--quant=q8_0", "--runtime=wllama/wasm,llama.cpp/native",
    "--probe-budget=200", "--prompt-tokens=4", "--output-tokens=2",
)  # fmt: skip
_ATTEMPT_SECONDS: Final = 600.0
_MOST_ATTEMPTS: Final = 40


class OneHost:
    """Runs, one after the other, each gone on with until all of its requests are fulfilled.

    Args:
        folder: for all of it.
        crowd: the processes.
        say: told in words.
    """

    def __init__(self, folder: Path, crowd: Crowd, say: Callable[[str], None]) -> None:
        self._folder, self._crowd, self._say = folder, crowd, say
        self.results = [folder / "results"]
        self._state = folder / "state"
        self.ground = Ground(folder, [self._state], folder / "cache", folder / "tmp", self.results)
        for path in (folder, self.ground.temporary):
            path.mkdir()
        self._environment = {
            "TIERLAB_STATE": str(self._state), "TIERLAB_CACHE": str(self.ground.cache),
            "TMPDIR": str(self.ground.temporary), "PYTHONPATH": str(REPOSITORY),
        }  # fmt: skip
        self._attempt: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._tries = 0
        self.runs: list[str] = []
        self.attempts = 0
        self.released = 0
        self.exits: dict[int, int] = {}
        self.problems: list[str] = []

    def servants(self) -> set[int]:
        """See `Scene.servants`."""
        return {self._attempt.pid} if self._attempt else set()

    def tend(self) -> None:
        """See `Scene.tend`."""
        if self._attempt is not None and not self._over(self._attempt):
            return
        if not self.runs or self._complete():
            self._end_run()
            self._new_run()
        self._start()

    def _over(self, attempt: subprocess.Popen[bytes]) -> bool:
        code = attempt.poll()
        if code is None and time.monotonic() - self._began > _ATTEMPT_SECONDS:
            self.problems.append(f"{self.runs[-1]}: an attempt hangs; see {self._log}")
            attempt.kill()
            code = attempt.wait()
        if code is None:
            return False
        self.exits[code] = self.exits.get(code, 0) + 1
        self._attempt = None
        return True

    @property
    def _log(self) -> Path:
        return self._folder / f"attempt-{self.attempts}.log"

    def _start(self) -> None:
        """Start the run, or go on with it."""
        self.released += give_back(self._state, self._environment)
        self.attempts += 1
        self._tries += 1
        if self._tries > _MOST_ATTEMPTS:
            raise RuntimeError(f"{self.runs[-1]} does not come to an end; see {self._log}")
        words = [
            *("-m", "pytest", "suites/test_full_load.py", "-p", "no:cacheprovider", "-n", "auto"),
            *(f"--device={DEVICES}", "--emulate", f"--results={self.results[0]}", *CHEAP),
            f"--run-id={self.runs[-1]}",
        ]
        with self._log.open("wb") as log:
            self._attempt = subprocess.Popen(
                [sys.executable, *words],
                cwd=REPOSITORY, env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._began = time.monotonic()

    def _complete(self) -> bool:
        if not (self.results[0] / FILE_NAME).exists():
            return False
        with Store.open(self.results[0]) as store:
            done = progress(store, self.runs[-1])
        return done.requested > 0 and not done.open

    def _new_run(self) -> None:
        self.runs.append(f"storm-{len(self.runs) + 1}")
        self._tries = 0
        # Model files are made anew, for somebody to be killed at that.
        shutil.rmtree(self.ground.cache, ignore_errors=True)

    def _end_run(self) -> None:
        """After the next start nothing may be left of a run."""
        if not self.runs:
            return
        self._start()
        self._wait()
        found = leftovers(self.ground, self._crowd.members)
        found += books.unfulfilled(self.results[0], self.runs[-1:])
        self._say(f"{self.runs[-1]} is complete; {len(found)} problems")
        for line in found:
            self._say(f"  {line}")
        self.problems += [f"{self.runs[-1]}: {line}" for line in found]

    def _wait(self) -> None:
        while self._attempt is not None and not self._over(self._attempt):
            time.sleep(0.2)

    def finish(self) -> None:
        """Go on without kills until the run is complete, and look at everything."""
        while not self._complete():
            if self._attempt is None:
                self._start()
            self._wait()
        self._wait()
        self._end_run()
        for profile in ("desktop", "pixel7"):
            # A look at real phones would start adb's own server, which stays.
            self.problems += not_ready(profile, self._environment, "--emulate")
        self.problems += leftovers(self.ground, self._crowd.members)

    def told(self) -> dict[str, Any]:
        """What else was counted."""
        return {"attempts": self.attempts, "exit codes": self.exits, "released": self.released}

    def close(self) -> None:
        """End what runs."""
        if self._attempt is not None:
            self._attempt.kill()
            self._attempt.wait()
