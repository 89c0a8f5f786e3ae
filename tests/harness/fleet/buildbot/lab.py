"""A lab on this machine for tests: a real master, real workers, and cables that can be cut."""

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

import psutil

from harness.fleet.buildbot.desk import PROGRAM
from harness.fleet.journal_file import FOLDER as JOURNAL
from results.fleet.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[4]
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


class Cable:
    """A network namespace with a cable to this one: addresses of its own, and a link to cut."""

    def __init__(self, number: int) -> None:
        self.name = f"tierlab{os.getpid()}"
        self.here, self.there = f"10.213.{number}.1", f"10.213.{number}.2"
        self._link = f"tl{os.getpid()}"

    def plug_in(self) -> None:
        """Lay the cable."""
        other = f"{self._link}b"
        for words in (
            f"netns add {self.name}",
            f"link add {self._link} type veth peer name {other}",
            f"link set {other} netns {self.name}",
            f"addr add {self.here}/30 dev {self._link}",
            f"link set {self._link} up",
            f"-n {self.name} addr add {self.there}/30 dev {other}",
            f"-n {self.name} link set {other} up",
            f"-n {self.name} link set lo up",
        ):
            _ip(words)

    def remove(self) -> None:
        """Take it away; the link goes with its namespace."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip(f"netns delete {self.name}")
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip(f"link delete {self._link}")

    def cut(self) -> None:
        """Cut it: no packet goes either way, and nobody is told."""
        _ip(f"link set {self._link} down")

    def mend(self) -> None:
        """Plug it in again."""
        _ip(f"link set {self._link} up")

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run at the other end."""
        return ["ip", "netns", "exec", self.name]


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True, timeout=20)


class Lab:
    """A master and its workers. What it starts ends with `close`."""

    def __init__(self, folder: Path, config: str, *, bind: str, port: int, web: int) -> None:
        self.folder = folder
        self.results = folder / "controller" / "results"
        self._address = f"{bind}:{port}"
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

    def _start(self, name: str, words: list[str], home: Path, **environment: str) -> None:
        home.mkdir(exist_ok=True)
        environment = {
            **os.environ, "TIERLAB_STATE": str(home / "state"), "PYTHONPATH": str(REPOSITORY),
            **environment,
        }  # fmt: skip
        with (home / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=home
            )

    def start_master(self) -> None:
        """Start it, and wait until its page answers."""
        home = self.folder / "controller"
        words = ["-m", "harness.cli", "fleet", "buildbot", "--config", str(self._config)]
        words += ["--to", str(home / "master"), "--start"]
        self._start("master", [sys.executable, *words], home, TIERLAB_FLEET_PASSWORD=SECRET)
        wait_for(self._answers, "the master answers")

    def _answers(self) -> bool:
        assert self.processes["master"].poll() is None, (self.folder / "controller/log").read_text()
        with contextlib.suppress(OSError):
            self.get("workers")
            return True
        return False

    def start_worker(self, name: str, lost_after: float, prefix: list[str] | None = None) -> None:
        """Start one, and wait until the master has it."""
        pretend = str(Path(__file__).with_name("pretend.py"))
        words = [*(prefix or []), sys.executable, pretend, "worker", name, self._address]
        self._start(name, [*words, str(self.home(name)), str(lost_after)], self.home(name))
        wait_for(lambda: self.connected(name), f"{name} is connected")

    def home(self, name: str) -> Path:
        """The folder of a worker's host."""
        return self.folder / name

    def go(self, name: str, *, on: bool = True) -> None:
        """Let the jobs of a worker end, or keep them waiting."""
        sign = self.home(name) / "go"
        sign.touch() if on else sign.unlink()

    def begun(self, name: str) -> list[tuple[int, str]]:
        """The jobs that began on a worker: PID and request."""
        path = self.home(name) / "begun"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), line.split()[1]) for line in lines]

    def running(self, name: str) -> bool:
        """Whether the last job that began on a worker goes on."""
        return bool(self.begun(name)) and psutil.pid_exists(self.begun(name)[-1][0])

    # ---- the master's REST interface ----

    def get(self, what: str) -> list[dict[str, Any]]:
        """One of its lists."""
        for _ in range(5):
            # A busy Twisted now and then closes before its answer is out.
            with (
                contextlib.suppress(IncompleteRead),
                urllib.request.urlopen(self._url + what, timeout=20) as answer,  # noqa: S310
            ):
                found: list[dict[str, Any]] = json.loads(answer.read())[what.partition("?")[0]]
                return found
        raise ConnectionError(f"no whole answer to {what}")

    def connected(self, name: str) -> bool:
        """Whether the master has a worker."""
        return any(one["name"] == name and one["connected_to"] for one in self.get("workers"))

    def force(self, **choices: str) -> None:
        """Start a run by hand, as the web page does."""
        (plan,) = (one["builderid"] for one in self.get("builders") if one["name"] == "plan")
        call = {
            "jsonrpc": "2.0", "method": "force", "id": 1,
            "params": {"builderid": str(plan), **choices},
        }  # fmt: skip
        request = urllib.request.Request(  # noqa: S310
            f"{self._url}forceschedulers/start",
            data=json.dumps(call).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            assert "error" not in json.loads(answer.read())

    def idle(self) -> bool:
        """Whether nothing is queued or runs."""
        return not self.get("buildrequests?complete=false")

    def journal(self) -> list[Event]:
        """What the master wrote into its journal."""
        files = sorted((self.results / JOURNAL).glob(f"{PROGRAM}-*.jsonl"))
        lines = [line for file in files for line in file.read_text().splitlines()]
        return [Event.model_validate_json(line) for line in lines]

    def told(self, words: str) -> bool:
        """Whether the journal has a line with these words."""
        return any(words in event.text for event in self.journal())


@contextlib.contextmanager
def cable(number: int) -> Iterator[Cable]:
    """A cable, while a block runs."""
    one = Cable(number)
    try:
        one.plug_in()
        yield one
    finally:
        one.remove()
