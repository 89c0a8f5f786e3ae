"""A real InfluxDB for tests: Debian's influxd 1.6.7 behind a small front that speaks `/api/v2`.

No newer server can be had as a package, and 1.6 has no `/api/v2/write`. The front (`Front`, in this
process) checks token, organisation and bucket as InfluxDB 2 does, hands the lines to influxd's
`/write`, turns its errors into those of InfluxDB 2, and makes faults on request. It differs from
InfluxDB 2 in one thing: where lines cannot be parsed, influxd 1 keeps the others of the batch,
InfluxDB 2 none.

What influxd 1.6.7 guarantees, as seen: a write is answered after its fsync of the write-ahead log,
and survives `kill -9`. A write that fails for a full disk is visible until the next start and gone
then; until that start every further write is refused too.

    python -m tests.results.influx.influxd        starts one for trying things, until Ctrl-C
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

TOKEN: Final = "a-Token_of.tests=="  # noqa: S105 - it opens nothing
ORG: Final = "lab"
BUCKET: Final = "tierlab"

Row: TypeAlias = dict[str, Any]

_START_SECONDS: Final = 30.0
_PRECISION: Final = {"ns": "n", "us": "u", "ms": "ms", "s": "s"}

_SETTINGS: Final = """
reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[coordinator]
  write-timeout = "5s"
[http]
  bind-address = "127.0.0.1:0"
  log-enabled = false
[monitor]
  store-enabled = false
[subscriber]
  enabled = false
[continuous_queries]
  enabled = false
[logging]
  suppress-logo = true
"""


def require_influxd() -> str:
    """The path of influxd; where there is none the test is skipped, and in CI fails."""
    found = shutil.which("influxd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/bin"]))
    if found is None:
        reason = "influxd is missing; install it with: apt-get install influxdb"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class Influxd:
    """The server process, on a port of its own choice; its data stay when it is killed."""

    def __init__(self, folder: Path) -> None:
        self._program = require_influxd()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings, log = self._folder / "influxd.conf", self._folder / "influxd.log"
        settings.write_text(_SETTINGS.format(folder=self._folder))
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [self._program, "-config", str(settings)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={"PATH": os.defpath, "HOME": str(self._folder)},
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while not (heard := re.search(r"Listening on HTTP.* addr=\S+:(\d+)", log.read_text())):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.fail(f"influxd does not start:\n{log.read_text()}")
            time.sleep(0.01)
        self.port = int(heard[1])
        self.query(f'CREATE DATABASE "{BUCKET}"')

    def kill(self) -> None:
        """`kill -9`; nothing happens where it is not running."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """`kill -9`, and a new start on the same data."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections are taken, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End `pause`."""
        self._signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Let no file of it grow any more, as on a full disk. It recovers by `restart`."""
        assert self._process is not None
        _, most = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (1, most))

    def query(self, query: str, *, database: str = BUCKET) -> list[Row]:
        """What InfluxQL answers: a dictionary a row, times as nanoseconds, tags of a GROUP BY in.

        Raises:
            AssertionError: the query is refused.
        """
        words = urllib.parse.urlencode({"db": database, "q": query, "epoch": "ns"})
        status, _, body = ask(self.port, "POST", f"/query?{words}")
        answer = json.loads(body)
        errors = [answer, *answer.get("results", [])]
        assert status == 200, (query, answer)
        assert not any("error" in part for part in errors), (query, answer)
        return [
            {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
            for result in answer["results"]
            for series in result.get("series", [])
            for values in series["values"]
        ]

    def points(self) -> list[Row]:
        """Every point of the bucket: all tags and fields, time, and `measurement`."""
        names = [row["name"] for row in self.query("SHOW MEASUREMENTS")]
        return [
            {"measurement": name, **row}
            for name in names
            for row in self.query(f'SELECT * FROM "{name}"')  # noqa: S608 - names of our own
        ]

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def ask(
    port: int, method: str, path: str, body: bytes | None = None, encoding: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request to a server on this machine: status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Encoding": encoding} if encoding else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one write instead of a good answer.

    Attributes:
        status: answered instead of writing; 0: none, the connection is dropped.
        headers: of that answer, such as `Retry-After`.
        body: of that answer.
        kind: the media type of the body.
        written: whether the lines are written all the same, and only the answer is lost.
        hang: whether nothing is answered until the front closes.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = '{"code":"error","message":"made by the test"}'
    kind: str = "application/json"
    written: bool = False
    hang: bool = False


LOST_ANSWER: Final = Fault(written=True)
DROPPED: Final = Fault()
HANG: Final = Fault(hang=True)


def busy(status: int = 503, retry_after: str | None = None) -> Fault:
    """An error that passes."""
    return Fault(status, {} if retry_after is None else {"Retry-After": retry_after})


@dataclass(frozen=True, slots=True)
class Write:
    """A write as the front saw it: the status it answered (0: none), and what came with it."""

    status: int
    size: int
    encoding: str | None
    query: dict[str, str]


class Front(ThreadingHTTPServer):
    """`/api/v2/write`, `/health`, `/ping` and `/query` in front of influxd.

    Attributes:
        faults: one for each of the next writes, first come first served.
        always: for every write while it is set.
        asked: whether a write ever came.
        writes: all that were answered so far, refused ones too.
    """

    daemon_threads = True

    def __init__(self, influxd: Influxd, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.influxd = influxd
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.asked = threading.Event()
        self.writes: list[Write] = []
        self.closed = threading.Event()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closed.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """What `--influx` takes."""
        return f"http://127.0.0.1:{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is part of the tests; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def do_GET(self) -> None:
        self._route(b"")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if len(body) == size:
            self._route(body)

    def _route(self, body: bytes) -> None:
        path = urllib.parse.urlsplit(self.path)
        if path.path == "/api/v2/write":
            self._write(body, dict(urllib.parse.parse_qsl(path.query)))
        elif path.path in {"/query", "/ping"}:
            self._pass_on(body)
        elif path.path == "/health":
            self._answer(200, json.dumps({"name": "influxdb", "status": "pass"}).encode())
        else:
            self._refuse(404, "not found", "path not found")

    def _write(self, body: bytes, query: dict[str, str]) -> None:
        front = self.server
        front.asked.set()
        fault = front.faults.popleft() if front.faults else front.always
        status = self._faulty(fault, body, query) if fault else self._checked(body, query)
        encoding = self.headers.get("Content-Encoding")
        front.writes.append(Write(status, len(body), encoding, query))

    def _faulty(self, fault: Fault, body: bytes, query: dict[str, str]) -> int:
        if fault.hang:
            self.server.closed.wait()
        if fault.written:
            self._to_influxd(body, query)
        if fault.hang or not fault.status:
            return self._drop()
        return self._answer(fault.status, fault.body.encode(), fault.kind, fault.headers)

    def _checked(self, body: bytes, query: dict[str, str]) -> int:
        """As InfluxDB 2 answers a write."""
        if self.headers.get("Authorization") not in {f"Token {TOKEN}", f"Bearer {TOKEN}"}:
            return self._refuse(401, "unauthorized", "unauthorized access")
        if (org := query.get("org")) != ORG:
            return self._refuse(404, "not found", f'organization name "{org}" not found')
        try:
            status, answer = self._to_influxd(body, query)
        except (OSError, http.client.HTTPException):
            return self._drop()
        return self._answer(status) if status < 400 else self._translated(status, answer, query)

    def _translated(self, status: int, answer: bytes, query: dict[str, str]) -> int:
        """An error of InfluxDB 1 as InfluxDB 2 tells it."""
        text = str(json.loads(answer)["error"])
        if status == 404:
            return self._refuse(404, "not found", f'bucket "{query["bucket"]}" not found')
        if text.startswith("partial write: field type conflict"):
            text = f"failure writing points to database: {text}"
            return self._refuse(422, "unprocessable entity", text)
        return self._refuse(status, "invalid" if status == 400 else "internal error", text)

    def _to_influxd(self, body: bytes, query: dict[str, str]) -> tuple[int, bytes]:
        words = {"db": query["bucket"], "precision": _PRECISION[query.get("precision", "ns")]}
        path = f"/write?{urllib.parse.urlencode(words)}"
        encoding = self.headers.get("Content-Encoding")
        status, _, answer = ask(self.server.influxd.port, "POST", path, body, encoding)
        return status, answer

    def _pass_on(self, body: bytes) -> None:
        try:
            status, headers, answer = ask(self.server.influxd.port, self.command, self.path, body)
        except (OSError, http.client.HTTPException):
            self._drop()
        else:
            self._answer(status, answer, headers.get("Content-Type", ""))

    def _refuse(self, status: int, code: str, message: str) -> int:
        return self._answer(status, json.dumps({"code": code, "message": message}).encode())

    def _answer(
        self,
        status: int,
        body: bytes = b"",
        kind: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> int:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return status

    def _drop(self) -> int:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        return 0


@dataclass(frozen=True, slots=True)
class Influx:
    """InfluxDB as a client sees it, and what is behind it."""

    front: Front
    influxd: Influxd

    @property
    def url(self) -> str:
        """What `--influx` takes."""
        return self.front.url

    def query(self, query: str) -> list[Row]:
        """What InfluxQL answers; see `Influxd.query`."""
        return self.influxd.query(query)

    def points(self) -> list[Row]:
        """Every point of the bucket; see `Influxd.points`."""
        return self.influxd.points()


@contextlib.contextmanager
def running_influx(*, port: int = 0) -> Iterator[Influx]:
    """An empty InfluxDB with the bucket `BUCKET`, on free ports, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="influxd-") as folder:
        influxd = Influxd(Path(folder))
        try:
            influxd.start()
            with Front(influxd, port) as front:
                yield Influx(front, influxd)
        finally:
            influxd.kill()


@pytest.fixture(name="influx")
def influx_fixture() -> Iterator[Influx]:
    """A fresh one for a test: `from tests.results.influx.influxd import influx_fixture`."""
    with running_influx() as influx:
        yield influx


def main() -> None:
    """Run one until Ctrl-C or SIGTERM."""
    # Also where a shell started it in the background, and had it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with running_influx() as influx, contextlib.suppress(KeyboardInterrupt):
        text = f"TIERLAB_INFLUX_TOKEN='{TOKEN}' --influx {influx.url} --influx-org {ORG}"
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
