"""One write to InfluxDB: what answers mean, and nothing of the token anywhere."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.influx.client import (
    Answer,
    Influx,
    RefusedError,
    UnavailableError,
    meaning,
    seconds_of,
)
from results.influx.settings import InfluxError, InfluxSettings, MisconfiguredError
from tests.results.influx.influxd import (
    BUCKET,
    DROPPED,
    HANG,
    ORG,
    TOKEN,
    Fault,
    busy,
    influx_fixture,  # noqa: F401 - a fixture
)
from tests.results.test_store import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.results.influx.influxd import Influx as Server

HERE = InfluxSettings("http://here:8086", "a-bucket", "an-org", TOKEN)


def said(message: str, **more: Any) -> str:
    return json.dumps({"code": "a code", "message": message, **more})


# ---- what answers mean ----


def test_204_is_the_only_good_answer() -> None:
    assert meaning(Answer(204), HERE) is None
    for status in (200, 201, 202, 206):
        assert isinstance(meaning(Answer(status, "<html>"), HERE), MisconfiguredError)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 507, 599])
@pytest.mark.parametrize("body", [said("busy"), "<html>busy</html>", ""])
def test_what_passes(status: int, body: str) -> None:
    problem = meaning(Answer(status, body, {"Retry-After": "7"}), HERE)
    assert isinstance(problem, UnavailableError)
    assert problem.retry_after == 7
    assert f"http://here:8086 answers {status}" in str(problem)
    assert ("busy" in str(problem)) == (body == said("busy"))  # what no InfluxDB says is not told


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused(status: int) -> None:
    problem = meaning(Answer(status, said("unable to parse 'x'")), HERE)
    assert isinstance(problem, RefusedError)
    assert str(problem) == "unable to parse 'x'"


def test_a_proxy_that_wants_smaller_requests() -> None:
    problem = meaning(Answer(413, "<html>"), HERE)
    assert isinstance(problem, RefusedError)
    assert problem.too_large


def test_points_that_are_too_old_are_refused_lines() -> None:
    problem = meaning(Answer(403, said("points beyond retention policy")), HERE)
    assert isinstance(problem, RefusedError)


def test_influxdb_3_tells_the_reason_of_a_line() -> None:
    body = {
        "error": "partial write of line protocol occurred",
        "data": [{"error_message": "invalid column type", "line_number": 1, "original_line": "x"}],
    }
    problem = meaning(Answer(400, json.dumps(body)), HERE)
    assert str(problem) == "partial write of line protocol occurred: invalid column type"


@pytest.mark.parametrize(
    ("answer", "thing", "next_step"),
    [
        (Answer(401, said("unauthorized access")), "refuses the token (401: una", "a token that m"),
        (Answer(403, said("forbidden")), "refuses the token (403: forbidden)", "'a-bucket'"),
        (Answer(401, "<html>"), "refuses the token (401)", "TIERLAB_INFLUX_TOKEN"),
        (Answer(404, said('bucket "a-bucket" not found')), "bucket 'a-bucket'", "--influx-bucket"),
        (Answer(404, '{"error":"database not found"}'), "bucket 'a-bucket'", "--influx-bucket"),
        (Answer(404, said("organization name not found")), "'an-org'", "--influx-org"),
        (Answer(404, said("path not found")), "is no InfluxDB 2 or 3", "check the address"),
        (Answer(404, "<html>"), "is no InfluxDB 2 or 3", "check the address"),
        (Answer(405, ""), "(POST /api/v2/write: 405)", "check the address"),
        (Answer(501, "<html>"), "(POST /api/v2/write: 501)", "check the address"),
        (Answer(400, "Client sent an HTTP request to an HTTPS server."), "400", "check the addre"),
        (
            Answer(302, "", {"Location": "http://there"}),
            "302, and sends on to http://there",
            "chec",
        ),
        (Answer(307, ""), "307, and sends on to", "check the address"),
    ],
)
def test_what_has_to_be_mended(answer: Answer, thing: str, next_step: str) -> None:
    problem = meaning(answer, HERE)
    assert isinstance(problem, MisconfiguredError)
    assert thing in problem.problem
    assert "http://here:8086" in problem.problem
    assert next_step in problem.next_step


def test_what_was_not_given_is_asked_for() -> None:
    bare = InfluxSettings("http://here:8086")
    no_token = meaning(Answer(401, said("unauthorized")), bare)
    assert "asks for a token, and none is set" in str(no_token)
    no_org = meaning(Answer(404, said("organization not found")), bare)
    assert "has organisations, and none is named" in str(no_org)


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_server_can_neither_tell_the_token_nor_drive_the_terminal(status: int) -> None:
    shout = f"\x1b[2J bucket {TOKEN}\n\N{RIGHT-TO-LEFT OVERRIDE}" + "A" * 10_000
    problem = meaning(Answer(status, said(shout)), HERE)
    text = str(problem).replace("\n  -> ", "")
    assert TOKEN not in text
    assert "bucket ***" in text
    assert text.isprintable()
    assert len(text) < 700


@pytest.mark.parametrize("body", ["", "[]", "17", "null", '{"message":7}', '{"error":null}', "{"])
@given(status=st.integers(100, 599))
def test_any_answer_has_one_meaning(body: str, status: int) -> None:
    problem = meaning(Answer(status, body), HERE)
    assert (problem is None) == (status == 204)
    assert problem is None or isinstance(problem, InfluxError)


# ---- Retry-After ----


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None), ("0", 0), ("30", 30), ("1.5", 1.5), ("-3", 0), ("soon", None), ("", None),
        ("nan", None), ("inf", None), ("Thu, 02 Jan 2025 03:05:05 GMT", 60),
        ("Thu, 02 Jan 2025 03:00:00 GMT", 0), ("Thu, 02 Jan 2025 03:05:05 -0000", 60),
        ("Thu, 99 Jan 2025 03:05:05 GMT", None),
    ],
)  # fmt: skip
def test_retry_after(text: str | None, seconds: float | None) -> None:
    assert seconds_of(text, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)) == seconds


@given(st.text())
def test_any_retry_after_is_seconds_or_nothing(text: str) -> None:
    seconds = seconds_of(text)
    assert seconds is None or seconds >= 0


# ---- a real write ----

LINES = ["m,tag=a value=1 1", "m,tag=b value=2 2"]


def settings_of(server: Server, **changes: str) -> InfluxSettings:
    given = {"url": server.url, "bucket": BUCKET, "org": ORG, "token": TOKEN, **changes}
    return InfluxSettings(**given)


def failure(settings: InfluxSettings, lines: list[str] | None = None) -> InfluxError:
    """What a write raises; nothing else may hang on it that somebody could print."""
    with (
        Influx(settings, connect_seconds=5, answer_seconds=0.5) as influx,
        pytest.raises(InfluxError) as caught,
    ):
        influx.write(lines or LINES)
    error = caught.value
    assert error.__context__ is None or error.__suppress_context__
    assert not settings.token or settings.token not in "".join(traceback.format_exception(error))
    return error


@pytest.mark.integration
def test_lines_are_written_and_written_again(influx: Server) -> None:
    with Influx(settings_of(influx)) as client:
        for _ in range(2):
            client.write(LINES)
    assert [(p["tag"], p["value"], p["time"]) for p in influx.points()] == [
        ("a", 1, 1),
        ("b", 2, 2),
    ]
    assert [w.encoding for w in influx.front.writes] == ["gzip", "gzip"]


@pytest.mark.integration
def test_the_server_says_what_has_to_be_mended(influx: Server) -> None:
    def told(**changes: str) -> str:
        error = failure(settings_of(influx, **changes))
        assert isinstance(error, MisconfiguredError)
        return error.problem

    assert "refuses the token (401: unauthorized access)" in told(token="another")  # noqa: S106
    assert "asks for a token" in told(token="")
    assert "the bucket 'nosuch'" in told(bucket="nosuch")
    assert "the organisation 'nosuch'" in told(org="nosuch")
    assert "is no InfluxDB 2 or 3" in told(url=f"{influx.url}/nosuch")
    for fault in (
        Fault(200, body="<html>hello", kind="text/html"),
        Fault(302, {"Location": f"{influx.url}/elsewhere"}),
        Fault(307, {"Location": f"{influx.url}/elsewhere"}),
    ):
        influx.front.faults.append(fault)
        assert f"(POST /api/v2/write: {fault.status}" in told()
    assert influx.points() == []


@pytest.mark.integration
def test_the_server_refuses_lines(influx: Server) -> None:
    with Influx(settings_of(influx)) as client:
        client.write(LINES)
    for line, reason in (
        ("m,tag=a value=1i 3", "field type conflict"),
        ("m,tag= value=1 3", "unable to parse 'm,tag= value=1 3': missing tag value"),
        ("nonsense", "unable to parse 'nonsense': missing fields"),
        (f"m,tag={'t' * 70_000} value=1 3", "max key length exceeded"),
    ):
        error = failure(settings_of(influx), [line])
        assert isinstance(error, RefusedError), line
        assert reason in str(error)
    assert len(influx.points()) == 2


@pytest.mark.integration
def test_the_server_has_a_fault_that_passes(influx: Server) -> None:
    influx.front.faults += [busy(429, "3"), busy(503), DROPPED, HANG]
    errors = [failure(settings_of(influx)) for _ in range(4)]
    assert all(isinstance(error, UnavailableError) for error in errors)
    assert [getattr(error, "retry_after", 0) for error in errors] == [3, None, None, None]
    assert [getattr(error, "slow", 0) for error in errors] == [False, False, False, True]
    assert str(errors[2]).endswith("the connection broke off")


# ---- what answers is no InfluxDB at all ----


@contextlib.contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does one thing with each of its connections; its port."""
    server = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def serve() -> None:
        with server:
            while True:
                connection, _ = server.accept()
                with connection:
                    if closing.is_set():
                        return
                    with contextlib.suppress(OSError):
                        answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    port = int(server.getsockname()[1])
    try:
        yield port
    finally:
        closing.set()
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


def heard(connection: socket.socket) -> bytes:
    """A whole request."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65_536)
    head, _, body = text.partition(b"\r\n\r\n")
    size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < size:
        body += connection.recv(65_536)
    return head + body


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = failure(InfluxSettings(f"http://127.0.0.1:{port}", token=TOKEN))
    assert isinstance(error, UnavailableError)
    assert str(error) == f"http://127.0.0.1:{port}: Connection refused"


def test_a_name_that_is_not_known() -> None:
    error = failure(InfluxSettings("http://nosuch.invalid", token=TOKEN))
    assert isinstance(error, UnavailableError)
    assert str(error) == "http://nosuch.invalid: its name is not known"


def test_another_kind_of_server() -> None:
    with listening(lambda it: it.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as port:
        error = failure(InfluxSettings(f"http://127.0.0.1:{port}", token=TOKEN))
    assert isinstance(error, MisconfiguredError)
    assert "is no InfluxDB" in str(error)


def test_https_where_http_is_spoken() -> None:
    with listening(lambda it: it.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        error = failure(InfluxSettings(f"https://127.0.0.1:{port}", token=TOKEN))
    assert isinstance(error, MisconfiguredError)
    assert "no secure connection" in error.problem
    assert "check https or http" in error.next_step


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    files = {"-keyout": tmp_path / "key.pem", "-out": tmp_path / "certificate.pem"}
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    for option, path in files.items():
        command += [option, str(path)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["-out"], files["-keyout"])

    def shake_hands(connection: socket.socket) -> None:
        with contextlib.suppress(ssl.SSLError):
            context.wrap_socket(connection, server_side=True).close()

    with listening(shake_hands) as port:
        error = failure(InfluxSettings(f"https://127.0.0.1:{port}", token=TOKEN))
    assert isinstance(error, MisconfiguredError)
    assert "certificate verify failed" in error.problem
    assert "SSL_CERT_FILE" in error.next_step


def test_an_answer_that_is_no_text() -> None:
    def answer(connection: socket.socket) -> None:
        heard(connection)
        connection.sendall(b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n\xff\xfe")

    with listening(answer) as port:
        error = failure(InfluxSettings(f"http://127.0.0.1:{port}", token=TOKEN))
    assert isinstance(error, UnavailableError)


# ---- the token ----


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "400 Bad", "401 No", "404 No", "500 No"])
@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_the_token_is_in_no_message_and_no_log(
    status: str, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even where the server sends back all that it was sent."""
    requests = []

    def echo(connection: socket.socket) -> None:
        requests.append(heard(connection))
        # A request that is sent back as it came is no JSON; nor is half of one.
        body = requests[-1] if kind == "text/html" else said(f"Token {TOKEN}").encode()
        body = body.decode(errors="replace").encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nX-Heard: {TOKEN}\r\n"
        head += f"Location: http://there/{TOKEN}\r\nRetry-After: {TOKEN}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    caplog.set_level(logging.DEBUG)
    with listening(echo) as port:
        error = failure(InfluxSettings(f"http://127.0.0.1:{port}", token=TOKEN))
    assert len(requests) == 1
    assert f"authorization: token {TOKEN}".encode().lower() in requests[0].lower()
    shown = [str(error), repr(error), caplog.text, *capfd.readouterr()]
    shown += [f"{r.getMessage()} {r.args} {r.msg} {r.exc_text}" for r in caplog.records]
    assert TOKEN not in " ".join(shown)


def test_the_log_is_left_as_it_was() -> None:
    filters = list(logging.getLogger().filters)
    with Influx(HERE):
        assert logging.getLogger().filters != filters
    assert logging.getLogger().filters == filters


def test_only_those_who_send_load_the_client() -> None:
    code = (
        "import sys, harness.cli, results.influx.courier; print('influxdb_client' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
