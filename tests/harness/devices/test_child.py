from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.child import (
    LINE_BYTES,
    ChildSession,
    _event,
    _last_line,
    _lines,
    child_session,
)
from harness.emulation.limits import observe
from harness.evidence import Timeline
from results.record import Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.base import PageEvent

DATA = Path(__file__).parents[1] / "data"


# --- what a process says -------------------------------------------------------------------------


def split(pieces: list[bytes]) -> list[bytes]:
    """The lines of a stream that arrives in these pieces."""

    async def read() -> list[bytes]:
        stream = asyncio.StreamReader()
        for piece in pieces:
            stream.feed_data(piece)
        stream.feed_eof()
        return [line async for line in _lines(stream)]

    return asyncio.run(read())


@given(st.lists(st.binary(max_size=20).map(lambda data: data.replace(b"\r", b"\n"))))
def test_lines_come_as_they_were_written_however_they_arrive(pieces: list[bytes]) -> None:
    assert split(pieces) == b"".join(pieces).split(b"\n")[:-1]


def test_a_line_without_end_is_cut_and_nothing_follows() -> None:
    lines = split([b"one\n", b"x" * (LINE_BYTES + 5), b"y\ntwo\n"])
    assert [len(line) for line in lines] in ([3, LINE_BYTES], [3, LINE_BYTES + 6, 3])
    lines = split([b"x" * (1 << 16)] * 40)
    assert [len(line) for line in lines] == [LINE_BYTES]


@given(st.binary())
def test_what_is_no_json_is_text_and_no_event(data: bytes) -> None:
    found = _event(data)
    try:
        assert found == json.loads(data) or found != found  # noqa: PLR0124 - NaN
    except ValueError:
        assert found == data.decode("utf-8", "replace")


def test_json_that_is_too_deep_is_text() -> None:
    assert isinstance(_event(b"[" * 200_000), str)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""),
        (b"\n \n", ""),
        (b"first\nlast words\n\n", "last words"),
        (b"x" * 10_000, "x" * 400),
        (b"\xff\xfe\n", "\ufffd\ufffd"),
    ],
)
def test_the_last_words_of_a_log(tmp_path: Path, data: bytes, line: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    assert _last_line(path) == line
    assert _last_line(tmp_path / "missing") == ""


# --- processes -----------------------------------------------------------------------------------


class Lab:
    """A folder, and processes that run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.timeline = Timeline()
        self.events: list[PageEvent] = []
        self.session: ChildSession | None = None
        self.seen: set[int] = set()

    async def run(
        self,
        module: str,
        *,
        group: bool,
        until: Callable[[], bool] | None = None,
        **job: Any,
    ) -> None:
        """Run a job until its process has ended, or until something is the case."""
        self.timeline = Timeline()
        scope = observe("child") if group else None
        async with child_session(self.timeline, self.folder, scope) as session:
            self.session = session
            await session.start(module, job, self.on_event)
            while session._listening and not session._listening.done():
                if until and until():
                    break
                self.seen |= session.watch.pids()
                await asyncio.wait({session._listening}, timeout=0.005)
            self.seen |= session.watch.pids()
            await session.settle()

    def on_event(self, event: PageEvent) -> None:
        self.events.append(event)

    def start(self, module: str, *, group: bool = False, **job: Any) -> None:
        asyncio.run(self.run(module, group=group, **job))

    def of(self, kind: Kind) -> list[dict[str, Any]]:
        return [item.detail for item in self.timeline.items if item.kind is kind]

    @property
    def kinds(self) -> set[Kind]:
        return {item.kind for item in self.timeline.items}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("PYTHONPATH", str(DATA))
    monkeypatch.setenv("TIERLAB_STATE", str(tmp_path / "state"))
    return Lab(tmp_path)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


JOB: dict[str, Any] = {
    "prompt": {"ids": [5, 6], "text": " a b"},
    "outputTokens": 3,
    "warmLimitMs": 10_000,
}


@pytest.mark.integration
@pytest.mark.parametrize("group", [True, False])
def test_a_job_and_what_becomes_of_it(lab: Lab, *, group: bool) -> None:
    lab.start("native_child", group=group, config={"act": "burn", "seconds": 0.3}, **JOB)
    kinds = [event["type"] for event in lab.events]
    assert kinds == [
        *("phase", "phase", "progress", "progress", "phase"),
        *("tokens", "phase", "tokens", "tokens", "prompt", "phase", "warm", "done", "disposed"),
    ]
    phases = [event["name"] for event in lab.events if event["type"] == "phase"]
    assert phases == ["start", "create", "first-token", "decode", "warm"]
    assert [e["ids"] for e in lab.events if e["type"] == "tokens"] == [[300], [301], [302]]
    assert [e["tokens"] for e in lab.events if e["type"] == "prompt"] == [3]
    assert lab.session
    peaks, group_peak = lab.session.peak_memory()
    assert set(peaks) == {"engine"}
    assert peaks["engine"] > 5 << 20
    assert (group_peak is not None) is (lab.session._scope is not None)
    assert (lab.session.cpu_seconds() or 0) > 0
    assert {key for point in lab.session.memory_curve() for key in point.processes} == {"engine"}


@pytest.mark.integration
def test_bytes_on_stdout_are_events_or_what_they_are(lab: Lab) -> None:
    lab.start(
        "native_words",
        says=[
            {"text": '{"type": "phase"}\n'},
            {"text": "words\n[1, 2]\n"},
            {"text": "\udcff\udcfe\n"},
            {"text": '{"type": "cut off'},
        ],
    )
    assert lab.events == [{"type": "phase"}, "words", [1, 2], "\ufffd\ufffd"]
    assert lab.of(Kind.CHILD_GONE) == [{"exit_code": 0, "line": ""}]


@pytest.mark.integration
def test_a_line_without_end_does_not_stop_the_process(lab: Lab) -> None:
    lab.start("native_words", says=[{"text": "x" * 1024, "times": 5 << 10}], code=3)
    assert [len(event) for event in lab.events] == [LINE_BYTES]
    assert lab.of(Kind.CHILD_GONE) == [{"exit_code": 3, "line": ""}]


@pytest.mark.integration
@pytest.mark.parametrize("says", [[], [{"text": '{"type": "phase"}\n'}]])
def test_an_end_without_last_words_is_evidence(lab: Lab, says: list[dict[str, str]]) -> None:
    lab.start("native_words", says=says, code=7, stderr="first\nthe reason\n")
    assert lab.of(Kind.CHILD_GONE) == [{"exit_code": 7, "line": "the reason"}]


@pytest.mark.integration
@pytest.mark.parametrize(
    "last", [Kind.DONE, Kind.ENGINE_ERROR, Kind.UNSUPPORTED, Kind.ARTIFACT_REFUSED]
)
def test_an_end_after_last_words_is_no_evidence(lab: Lab, last: Kind) -> None:
    """The process says the word, its follower notes it; its exit code is that of tearing down."""

    def note(_: PageEvent) -> None:
        lab.timeline.add(Source.ENGINE, last)

    lab.on_event = note  # type: ignore[method-assign, assignment]
    lab.start("native_words", says=[{"text": "{}\n"}], code=1)
    assert lab.of(Kind.CHILD_GONE) == []


@pytest.mark.integration
def test_a_process_that_cannot_join_its_group_says_nothing_of_the_device(lab: Lab) -> None:
    lab.start("native_words", says=[], code=125, stderr="sh: cannot create cgroup.procs")
    (detail,) = lab.of(Kind.LAB_ERROR)
    assert detail["message"].endswith("could not join its group: sh: cannot create cgroup.procs")
    lab.start("native_words", says=[{"text": "{}\n"}], code=125)
    assert lab.of(Kind.CHILD_GONE) != []  # it had joined: it spoke


@pytest.mark.integration
@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("config", [{"act": "wait"}, {"act": "fork"}])
def test_closing_ends_what_runs(lab: Lab, config: dict[str, str], *, group: bool) -> None:
    expected = 2 if config["act"] == "fork" else 1
    lab.start(
        "native_child",
        group=group,
        until=lambda: len(lab.events) > 2 and len(lab.session.watch.pids()) >= expected,  # type: ignore[union-attr]
        config=config,
        **JOB,
    )
    assert len(lab.seen) >= expected
    assert [pid for pid in lab.seen if alive(pid)] == []
    assert Kind.CHILD_GONE not in lab.kinds
    assert not list(lab.folder.glob("state/groups/*/*.json"))


@pytest.mark.integration
def test_a_stopped_process_is_ended_as_well(lab: Lab) -> None:
    def stop() -> bool:
        if len(lab.events) < 3 or lab.session is None or lab.session.pid is None:
            return False
        os.kill(lab.session.pid, signal.SIGSTOP)
        return True

    lab.start("native_child", until=stop, config={"act": "wait"}, **JOB)
    assert [pid for pid in lab.seen if alive(pid)] == []


@pytest.mark.integration
def test_a_child_runs_one_job(lab: Lab) -> None:
    async def twice() -> None:
        async with child_session(Timeline(), lab.folder, None) as session:
            await session.start("native_words", {"says": []}, lab.on_event)
            await session.start("native_words", {"says": []}, lab.on_event)

    with pytest.raises(RuntimeError, match="one job"):
        asyncio.run(twice())


def test_a_session_in_which_nothing_was_started(lab: Lab) -> None:
    async def nothing() -> tuple[dict[str, int], int | None]:
        async with child_session(lab.timeline, lab.folder, None) as session:
            await session.settle()
            return session.peak_memory()

    assert asyncio.run(nothing()) == ({}, None)
    assert lab.kinds == set()


OWNER = """
import asyncio, os, sys
from pathlib import Path
from harness.devices.child import child_session
from harness.evidence import Timeline

async def main():
    async with child_session(Timeline(), Path(sys.argv[1]), None) as session:
        await session.start("native_child", {
            "config": {"act": "wait"}, "outputTokens": 1, "warmLimitMs": 1,
            "prompt": {"ids": [], "text": ""},
        }, lambda event: print(session.pid, flush=True))
        await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.integration
def test_a_process_ends_with_its_owner(lab: Lab) -> None:
    """Killed, an owner cleans up nothing: the process sees its stdin end."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(lab.folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        child = psutil.Process(int(owner.stdout.readline()))
        assert child.is_running()
        owner.kill()
        owner.wait()
        gone, _ = psutil.wait_procs([child], timeout=30)
    assert gone
