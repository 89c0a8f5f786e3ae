"""A lab on this machine: a real master, the processes of its hosts, and what the master says."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import IncompleteRead
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.fleet.buildbot.desk import PROGRAM
from harness.fleet.journal_file import FOLDER as JOURNAL
from results.fleet.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 180.0
SECRET = "correct-horse-battery"  # noqa: S105 - of a test


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nothing listens at."""
    with socket.socket() as one:
        one.bind((address, 0))
        port: int = one.getsockname()[1]
        return port


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"in {seconds:.0f} s not: {what}"
        time.sleep(0.1)


class Lab:
    """A master and its workers. What it starts ends with `close`."""

    def __init__(self, folder: Path, config: str, *, bind: str, port: int, web: int) -> None:
        self.folder = folder
        self.results = folder / "controller" / "results"
        self.address = f"{bind}:{port}"
        self._url = f"http://127.0.0.1:{web}/api/v2/"
        (folder / "controller").mkdir()
        self._config = folder / "controller" / "fleet.toml"
        self._config.write_text(config)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def close(self) -> None:
        """End all that runs."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def kill(self, name: str) -> None:
        """`kill -9`."""
        self.processes[name].kill()
        self.processes[name].wait()

    def start(self, name: str, words: list[str], home: Path, **environment: str) -> None:
        """Start a process, with its log and tierlab's state in the folder of its host."""
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ, "TIERLAB_STATE": str(home / "state"), "PYTHONPATH": str(REPOSITORY),
            **environment,
        }  # fmt: skip
        with (home / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=home
            )

    def start_master(self, **environment: str) -> None:
        """Start it, with more environment variables, and wait until its page answers."""
        home = self.folder / "controller"
        words = ["-m", "harness.cli", "fleet", "buildbot", "--config", str(self._config)]
        words += ["--to", str(home / "master"), "--start"]
        environment = {"TIERLAB_FLEET_PASSWORD": SECRET, **environment}
        self.start("master", [sys.executable, *words], home, **environment)
        wait_for(self._answers, "the master answers")

    def _answers(self) -> bool:
        assert self.processes["master"].poll() is None, (self.folder / "controller/log").read_text()
        with contextlib.suppress(OSError):
            self.get("workers")
            return True
        return False

    def home(self, name: str) -> Path:
        """The folder of a host."""
        return self.folder / name

    # ---- the master's REST interface ----

    def get(self, what: str) -> list[dict[str, Any]]:
        """One of its lists."""
        name = what.partition("?")[0].rpartition("/")[2]
        for _ in range(5):
            # A busy Twisted now and then closes before its answer is out.
            with (
                contextlib.suppress(IncompleteRead),
                urllib.request.urlopen(self._url + what, timeout=20) as answer,  # noqa: S310
            ):
                found: list[dict[str, Any]] = json.loads(answer.read())[name]
                return found
        raise ConnectionError(f"no whole answer to {what}")

    def connected(self, name: str) -> bool:
        """Whether the master has a worker."""
        return any(one["name"] == name and one["connected_to"] for one in self.get("workers"))

    def force(self, **choices: str) -> None:
        """Start a run by hand, as the web page does."""
        call = {
            "jsonrpc": "2.0", "method": "force", "id": 1,
            "params": {"builderid": str(self.builder("plan")), **choices},
        }  # fmt: skip
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}forceschedulers/start",
            data=json.dumps(call).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            assert "error" not in json.loads(answer.read())

    def builder(self, name: str) -> int:
        """The number of a builder."""
        (number,) = (one["builderid"] for one in self.get("builders") if one["name"] == name)
        return int(number)

    def collected(self, host: str) -> int:
        """How often a host was asked for what it has, and answered."""
        number = self.builder(f"collect-{host}")
        return len(self.get(f"builders/{number}/buildrequests?complete=true"))

    def idle(self) -> bool:
        """Whether nothing is queued or runs, but for what waits for a host that is not there."""
        collecting = {
            one["builderid"] for one in self.get("builders") if one["name"].startswith("collect-")
        }
        asked = {one["builderid"] for one in self.get("buildrequests?complete=false")}
        return asked <= collecting

    def journal(self) -> list[Event]:
        """What the master wrote into its journal."""
        files = sorted((self.results / JOURNAL).glob(f"{PROGRAM}-*.jsonl"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [Event.model_validate_json(line) for line in lines]

    def told(self, words: str) -> bool:
        """Whether the journal has a line with these words."""
        return any(words in event.text for event in self.journal())
