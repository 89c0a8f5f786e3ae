"""What a run has done, beside what the master says that it has to do."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest

from harness.errors import UserError
from harness.fleet.status import print_status, read_queue
from results.fleet.requests import add_requests
from results.store import Store
from tests.results.fleet.fleets import asked, tried

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANSWERS: dict[str, object] = {
    "/api/v2/builders": {"builders": [{"builderid": 1, "name": "pixel7"}]},
    "/api/v2/buildrequests?complete=false": {
        "buildrequests": [{"builderid": 1, "claimed": claimed} for claimed in (True, False, False)]
    },
    "/api/v2/workers": {
        "workers": [
            {"name": "pixel7-a", "connected_to": [{"masterid": 1}]},
            {"name": "pixel7-b\x1b[2J", "connected_to": []},
        ]
    },
}


class Master(BaseHTTPRequestHandler):
    """Answers as a Buildbot does, or as something else."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path, {"error": "no such thing"})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Master) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def a_run(folder: Path, recorded: int) -> None:
    requests = asked(2)
    with Store.open(folder) as store:
        store.start_run("run-1", "a test")
        add_requests(store, requests)
        for number, request in enumerate(requests[:recorded]):
            store.add(tried(f"trial-{number}", request))


def test_what_is_done_and_what_is_left(
    tmp_path: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path, 1)
    assert print_status(tmp_path, None, url) == 1
    said = capsys.readouterr().out
    assert "run run-1: 1 of 2 trials recorded" in said
    assert "no record: desktop: gemma-2b/int4 on onnxruntime-web/wasm" in said
    assert "pixel7: 1 running, 2 queued" in said
    assert "workers: 1 of 2 connected; missing: pixel7-b" in said
    assert "\x1b" not in said


def test_all_is_recorded_and_the_master_is_away(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(tmp_path, 2)
    assert print_status(tmp_path, "run-1", "http://127.0.0.1:9/") == 0
    assert "does not answer" in capsys.readouterr().out


def test_what_is_no_master_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(OSError, match="not that of a Buildbot"):
        read_queue(f"{url}elsewhere/")
    with pytest.raises(UserError, match="no address"):
        read_queue("file:///etc/")
    with pytest.raises(UserError, match="there are no results"):
        print_status(tmp_path / "none", None, url)
