"""The local server for real, over loopback, asked by a client that does not tidy up addresses."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.web import server as module
from harness.web.server import ISOLATION, content_type, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.web.server import Server

GIB = 1 << 30
TEXT = bytes(range(256)) * 40
SECRET = b"nobody may read this"


# What addresses of the tree below, and ways out of it, are made of.
PIECES = (
    *("..", ".", "%2e%2e", "%2E.", "/", "//", "%2f", "%5c", "%00", "?", "%", "%ff", "%C3%BC"),
    *("served", "folder", "secret.txt", "served-secret.txt", "data.bin", "inner.json"),
    *("outwards", "upwards", "inwards", "circle"),
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(url: str, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request; the path goes out as it is. Header names are written with underscores."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    with contextlib.closing(connection):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=names)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


@contextlib.contextmanager
def running(*, isolated: bool = True, extra: dict[str, Path] | None = None) -> Iterator[Server]:
    """A server on a loop of its own, in a thread."""
    started: list[Server] = []
    ready, over = threading.Event(), threading.Event()

    async def work() -> None:
        async with serve(isolated=isolated, extra=extra) as server:
            started.append(server)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert ready.wait(30)
        yield started[0]
    finally:
        over.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with files, ways out of it, and things that are no files."""
    base = tmp_path_factory.mktemp("tree")
    (base / "secret.txt").write_bytes(SECRET)
    (base / "served-secret.txt").write_bytes(SECRET)  # its name begins like the root's
    root = base / "served"
    (root / "folder").mkdir(parents=True)
    (root / "data.bin").write_bytes(TEXT)
    (root / "empty.bin").touch()
    (root / "folder" / "inner.json").write_bytes(b"{}")
    (root / "a b%20ü.js").write_bytes(b"//")
    (root / "inwards").symlink_to(root / "data.bin")
    (root / "outwards").symlink_to(base / "secret.txt")
    (root / "upwards").symlink_to(base)
    (root / "circle").symlink_to(root / "circle")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="module")
def url(tree: Path) -> Iterator[str]:
    with running() as server:
        assert server.publish("key", tree) == "/artifacts/key/"
        yield server.url


class TestHeaders:
    @pytest.mark.parametrize(
        ("method", "path", "headers", "status"),
        [
            ("GET", "/artifacts/key/data.bin", {}, 200),
            ("HEAD", "/artifacts/key/data.bin", {}, 200),
            ("GET", "/artifacts/key/empty.bin", {}, 200),
            ("GET", "/artifacts/key/data.bin", {"Range": "bytes=1-2"}, 206),
            ("GET", "/artifacts/key/data.bin", {"If_None_Match": "*"}, 304),
            ("GET", "/artifacts/key/data.bin", {"Range": "bytes=99999-"}, 416),
            ("GET", "/artifacts/key/none", {}, 404),
            ("GET", "/artifacts/other/data.bin", {}, 404),
            ("GET", "/", {}, 404),
            ("GET", "/page/trial.html", {}, 200),
            ("GET", "/adapters/onnxruntime_web.js", {}, 200),
            ("GET", "/probe/index.js", {}, 200),
            ("GET", "/favicon.ico", {}, 204),
            ("POST", "/page/trial.html", {}, 405),
        ],
    )
    def test_every_response_is_isolated_and_not_kept(
        self, url: str, method: str, path: str, headers: dict[str, str], status: int
    ) -> None:
        answer = ask(url, path, method, **headers)
        assert answer.status == status
        for name, value in ISOLATION.items():
            assert answer.headers.get_all(name) == [value]
        assert answer.headers["Cache-Control"] == "no-store"

    def test_isolation_can_be_left_out(self) -> None:
        with running(isolated=False) as server:
            for path in ("/page/trial.html", "/none"):
                answer = ask(server.url, path)
                assert not set(ISOLATION) & set(answer.headers)
                assert answer.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize(
        ("path", "expected"),
        [
            ("/page/trial.html", "text/html"),
            ("/page/trial.js", "text/javascript"),
            ("/probe/kernels.wasm", "application/wasm"),
            ("/artifacts/key/folder/inner.json", "application/json"),
            ("/artifacts/key/data.bin", "application/octet-stream"),
        ],
    )
    def test_types(self, url: str, path: str, expected: str) -> None:
        assert ask(url, path).headers.get_all("Content-Type") == [expected]

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("ort.bundle.min.mjs", "text/javascript"),
            ("model.onnx", "application/octet-stream"),
            ("model.onnx_data", "application/octet-stream"),
            ("no-suffix", "application/octet-stream"),
        ],
    )
    def test_types_do_not_depend_on_the_machine(self, name: str, expected: str) -> None:
        assert content_type(Path(name)) == expected


class TestRanges:
    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [
            ("bytes=0-0", slice(0, 1)),
            ("bytes=5-9", slice(5, 10)),
            ("bytes=10000-", slice(10_000, None)),
            ("bytes=0-", slice(0, None)),
            ("bytes=-1", slice(-1, None)),
            ("bytes=-300", slice(-300, None)),
            ("bytes=-99999", slice(0, None)),
            ("bytes=10230-99999", slice(10_230, None)),
        ],
    )
    def test_a_part(self, url: str, wanted: str, expected: slice) -> None:
        answer = ask(url, "/artifacts/key/data.bin", Range=wanted)
        start, stop, _ = expected.indices(len(TEXT))
        assert answer.status == 206
        assert answer.body == TEXT[expected]
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(TEXT)}"
        assert answer.headers["Content-Length"] == str(stop - start)

    @pytest.mark.parametrize(
        "wanted", ["bytes=10240-", "bytes=99999-100000", "bytes=5-2", "bytes=x-y", "bytes=0-1,4-5"]
    )
    def test_what_cannot_be_had(self, url: str, wanted: str) -> None:
        answer = ask(url, "/artifacts/key/data.bin", Range=wanted)
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(TEXT)}"
        assert not answer.body or TEXT not in answer.body

    def test_nothing_can_be_had_of_an_empty_file(self, url: str) -> None:
        assert ask(url, "/artifacts/key/empty.bin").body == b""
        assert ask(url, "/artifacts/key/empty.bin", Range="bytes=0-").status == 416

    def test_head_gives_the_size_and_no_body(self, url: str) -> None:
        answer = ask(url, "/artifacts/key/data.bin", "HEAD")
        assert answer.body == b""
        assert answer.headers["Content-Length"] == str(len(TEXT))
        assert answer.headers["Accept-Ranges"] == "bytes"

    def test_all_of_a_file(self, url: str) -> None:
        answer = ask(url, "/artifacts/key/data.bin")
        assert answer.body == TEXT
        assert answer.headers["Content-Length"] == str(len(TEXT))

    def test_a_compressed_neighbour_is_not_served_in_its_place(self, url: str, tree: Path) -> None:
        neighbours = [tree / "data.bin.gz", tree / "data.bin.br"]
        for neighbour in neighbours:
            neighbour.write_bytes(gzip.compress(b"something else"))
        answer = ask(url, "/artifacts/key/data.bin", Accept_Encoding="gzip, deflate, br")
        for neighbour in neighbours:
            neighbour.unlink()
        assert answer.body == TEXT
        assert "Content-Encoding" not in answer.headers


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/artifacts/key/folder/inner.json", b"{}"),
            ("/artifacts/key/a%20b%2520%C3%BC.js", b"//"),
            ("/artifacts/key/inwards", TEXT),
            ("/artifacts/key/folder/../data.bin", TEXT),
            ("/artifacts/key/data.bin?query=../../secret.txt", TEXT),
        ],
    )
    def test_inside(self, url: str, path: str, body: bytes) -> None:
        answer = ask(url, path)
        assert (answer.status, answer.body) == (200, body)

    @pytest.mark.parametrize(
        "path",
        [
            "../secret.txt",
            "..%2fsecret.txt",
            "%2e%2e/secret.txt",
            "%2E%2E%2Fsecret.txt",
            "%252e%252e%252fsecret.txt",
            "..%5csecret.txt",
            "folder/../../secret.txt",
            "../served-secret.txt",
            "outwards",
            "upwards/secret.txt",
            "upwards/served/../secret.txt",
            "circle",
            "pipe",
            "",
            "folder",
            "folder/",
            "/etc/passwd",
            "%2fetc%2fpasswd",
            "data.bin%00.txt",
            "%00",
            "x" * 300,
            "x/" * 2500,
            "data.bin/inner",
        ],
    )
    def test_outside_or_no_file(self, url: str, path: str) -> None:
        answer = ask(url, f"/artifacts/key/{path}")
        assert answer.status == 404
        assert SECRET not in answer.body

    @pytest.mark.parametrize("prefix", ["page", "adapters", "probe", "npm"])
    def test_the_other_trees_are_closed_too(self, url: str, prefix: str) -> None:
        for tail in ("../models.py", "%2e%2e/models.py", "../../pyproject.toml", "/etc/passwd"):
            assert ask(url, f"/{prefix}/{tail}").status == 404

    def test_a_name_beyond_what_http_allows_leaves_the_server_alive(self, url: str) -> None:
        assert ask(url, "/artifacts/key/" + "x" * 100_000).status == 400
        assert ask(url, "/artifacts/key/data.bin").status == 200

    def test_directories_come_and_go_while_it_runs(self, tmp_path: Path) -> None:
        (tmp_path / "new.bin").write_bytes(b"new")
        with running(extra={"/more/": tmp_path}) as server:
            assert ask(server.url, "/more/new.bin").body == b"new"
            assert ask(server.url, "/artifacts/late/new.bin").status == 404
            server.publish("late", tmp_path)
            assert ask(server.url, "/artifacts/late/new.bin").body == b"new"
            del server.artifacts["late"]
            assert ask(server.url, "/artifacts/late/new.bin").status == 404

    @given(
        st.lists(
            st.sampled_from(PIECES),
            max_size=8,
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_no_request_gets_a_file_from_outside(self, url: str, pieces: list[str]) -> None:
        answer = ask(url, "/artifacts/key/" + "".join(pieces))
        assert answer.status in {200, 404}
        if answer.status == 200:
            assert answer.body in {TEXT, b"", b"{}"}

    @given(tail=st.text(max_size=40) | st.text("./\\~\0au", max_size=40))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_name_leads_outside(self, tree: Path, tail: str) -> None:
        try:
            path = module._inside(tree, tail)
        except web.HTTPNotFound:
            return
        assert path.is_relative_to(tree.resolve())
        assert path.is_file()


# ---- gigabytes ----

_SERVER = """
import asyncio, sys
from pathlib import Path
from harness.web.server import serve

async def main():
    async with serve() as server:
        server.publish("key", Path(sys.argv[1]))
        print(server.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""
BIG = 6 * GIB
MARKS = {0: b"first", 2 * GIB - 3: b"around 2", 4 * GIB - 3: b"around 4", BIG - 4: b"last"}


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with a file of 6 GiB that is nearly all holes."""
    path = tmp_path_factory.mktemp("big") / "big.bin"
    with path.open("wb") as file:
        for offset, mark in MARKS.items():
            file.seek(offset)
            file.write(mark)
        file.truncate(BIG)
    yield path
    path.unlink()


@pytest.fixture
def process(big: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own: its address and the process."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(big.parent)],
        cwd=module.HARNESS.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        try:
            yield started.stdout.readline().strip(), psutil.Process(started.pid)
        finally:
            # The end of its input is the end of the server.
            started.communicate(timeout=30)
    assert started.returncode == 0


def peak_bytes(process: psutil.Process) -> int:
    """The peak resident memory of a process so far."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if "VmHWM" in line)


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_gigabytes_cost_the_server_no_memory(process: tuple[str, psutil.Process]) -> None:
    url, server = process
    path = "/artifacts/key/big.bin"
    assert ask(url, path, "HEAD").headers["Content-Length"] == str(BIG)
    before = peak_bytes(server)
    for offset, mark in MARKS.items():
        stop = min(offset + len(mark), BIG)
        answer = ask(url, path, Range=f"bytes={offset}-{stop - 1}")
        assert answer.body == mark[: stop - offset]
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        sink = memoryview(bytearray(1 << 20))
        total = 0
        while count := response.readinto(sink):
            total += count
    assert total == BIG
    assert peak_bytes(server) - before < 32 << 20


@pytest.mark.integration
def test_clients_that_go_away_leave_the_server_alive(
    process: tuple[str, psutil.Process],
) -> None:
    url, server = process
    address = urlsplit(url)
    for number in range(10):
        with socket.create_connection((address.hostname, address.port), timeout=30) as client:
            client.sendall(b"GET /artifacts/key/big.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
            if number % 2:  # with a reset instead of a farewell
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(url, "/artifacts/key/big.bin", Range="bytes=0-4").body == b"first"
    deadline = time.monotonic() + 30
    while server.open_files():
        assert time.monotonic() < deadline, f"still open: {server.open_files()}"


def test_a_server_that_is_cut_off_refuses_and_comes_back_on_its_port() -> None:
    async def work() -> list[str]:
        seen = []
        async with serve() as server:
            address = urlsplit(server.url).netloc
            with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as kept:

                async def try_kept() -> str:
                    try:
                        await asyncio.to_thread(kept.request, "GET", "/page/trial.html")
                        answer = await asyncio.to_thread(kept.getresponse)
                    except OSError as error:
                        return type(error).__name__
                    answer.read()
                    return str(answer.status)

                async def try_new() -> str:
                    try:
                        answer = await asyncio.to_thread(ask, server.url, "/page/trial.html")
                    except OSError as error:
                        return type(error).__name__
                    return str(answer.status)

                seen.append(await try_kept())
                for _ in range(2):
                    async with server.cut():
                        seen += [await try_kept(), await try_new(), await try_new()]
                    seen.append(await try_new())
        return seen

    kept, *rest = asyncio.run(work())
    refused = "ConnectionRefusedError"
    assert kept == "200"
    assert rest[0] in {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}
    assert rest[1:4] == [refused, refused, "200"]
    assert rest[5:] == [refused, refused, "200"]


def test_only_the_service_worker_may_answer_for_all(url: str) -> None:
    for path, allowed in (("/page/sw.js", "/"), ("/page/trial.js", None)):
        assert ask(url, path).headers["Service-Worker-Allowed"] == allowed
