from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices import watch
from harness.devices.processes import ProcessSample
from harness.devices.watch import LINE_CHARACTERS, OomCounter, StderrReader, Watch
from harness.emulation.limits import Limits, MemoryUse
from harness.evidence import Timeline
from results.record import Kind, Source

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_come_when_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    reader = StderrReader(path)
    assert reader.new_lines() == []  # no such file yet
    with path.open("ab", buffering=0) as file:
        file.write(b"one\ntw")
        assert reader.new_lines() == ["one"]
        assert reader.new_lines() == []
        file.write(b"o\n\nthree\n")
        assert reader.new_lines() == ["two", "", "three"]


def test_a_character_that_is_cut_by_a_look_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    reader = StderrReader(path)
    with path.open("ab", buffering=0) as file:
        for byte in "Größe €\n".encode():
            file.write(bytes([byte]))
            lines = reader.new_lines()
    assert lines == ["Größe €"]


@given(st.lists(st.binary()))
def test_what_is_no_text_is_read_all_the_same(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("watch") / "stderr"
    reader, lines = StderrReader(path), []
    for piece in [*pieces, b"\n"]:
        with path.open("ab") as file:
            file.write(piece)
        lines += reader.new_lines()
    text = b"".join([*pieces, b"\n"]).decode("utf-8", "replace")
    assert lines == text.split("\n")[:-1]


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    path.write_bytes(b"x" * (3 * LINE_CHARACTERS))
    reader = StderrReader(path)
    assert reader.new_lines() == []
    with path.open("ab") as file:
        file.write(b"\nnext\n")
    first, second = reader.new_lines()
    assert (len(first), second) == (LINE_CHARACTERS, "next")


class FakeScope:
    """A group whose counter and processes a test sets."""

    limiter = "cgroup-v9"
    id = "fake"
    limits = Limits()
    prefix = ()

    def __init__(self) -> None:
        self.kills = 0
        self.inside: set[int] = set()

    def oom_kills(self) -> int:
        return self.kills

    def memory(self) -> MemoryUse:
        return MemoryUse(current=5, peak=7, unreclaimable=4)

    def cpu_seconds(self) -> float:
        return 1.5

    def throttled_seconds(self) -> float | None:
        return 0.5

    def pids(self) -> set[int]:
        return self.inside

    def close(self) -> None:
        raise AssertionError("the session closes its scope")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


PROCESSES = {
    1: ProcessSample(1, "browser", 10, 11, cpu_seconds=1),
    2: ProcessSample(2, "renderer", 20, 25, cpu_seconds=2),
    3: ProcessSample(3, "utility", 30, 33, cpu_seconds=3),
}


@pytest.fixture
def scope(monkeypatch: pytest.MonkeyPatch) -> FakeScope:
    monkeypatch.setattr(watch, "sample", lambda pids: [PROCESSES[pid] for pid in sorted(pids)])
    monkeypatch.setattr(watch, "family", lambda root: {root} if root == 1 else set())
    return FakeScope()


def test_kills_are_counted_from_the_start_of_the_watch(scope: FakeScope) -> None:
    scope.kills = 3
    counter = OomCounter(scope)
    assert (counter.name, counter.source) == ("cgroup-v9 oom_kill", Source.CGROUP)
    assert counter.new_kills() == 0
    scope.kills = 5
    assert [counter.new_kills(), counter.new_kills()] == [2, 0]
    scope.kills = 0  # a group that is gone
    assert counter.new_kills() == 0


def test_without_a_group_the_machine_counts_and_the_evidence_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = iter([4, 4, 5])
    monkeypatch.setattr(watch, "machine_oom_kills", lambda: next(counts))
    counter = OomCounter(None)
    assert (counter.name, counter.source) == ("machine-wide oom_kill", Source.KERNEL)
    assert [counter.new_kills(), counter.new_kills()] == [0, 1]


def test_a_kernel_that_does_not_count_gives_no_kills(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "machine_oom_kills", lambda: None)
    assert OomCounter(None).new_kills() == 0


def test_a_kill_comes_before_the_ends_that_it_explains(scope: FakeScope, tmp_path: Path) -> None:
    timeline = Timeline()
    polls = Watch(timeline, lambda: None, scope, tmp_path / "stderr")
    scope.inside = {1, 2, 3}
    polls.look_at_processes()
    assert not timeline.items
    scope.inside, scope.kills = {1}, 1
    polls.look_at_processes()  # before the counter's own poll came round
    assert [item.kind for item in timeline.items] == [Kind.OOM_KILL, Kind.PROCESS_EXIT]
    end = timeline.items[1]
    # The utility process, which no load needs, is not told.
    assert end.detail == {"process": "renderer", "pid": 2, "last_resident_bytes": 20}
    polls.look_for_kills()
    assert len(timeline.items) == 2


def test_a_kill_is_evidence_at_once(scope: FakeScope, tmp_path: Path) -> None:
    timeline = Timeline()
    polls = Watch(timeline, lambda: None, scope, tmp_path / "stderr")
    scope.kills = 2
    polls.look_for_kills()
    (item,) = timeline.items
    assert (item.source, item.kind) == (Source.CGROUP, Kind.OOM_KILL)
    assert item.detail == {"kills": 2, "counter": "cgroup-v9 oom_kill"}


def test_peaks_and_the_curve_outlive_the_processes(scope: FakeScope, tmp_path: Path) -> None:
    polls = Watch(Timeline(), lambda: None, scope, tmp_path / "stderr")
    scope.inside = {1, 2}
    polls.look_at_processes()
    scope.inside = set()
    polls.look_at_processes()
    assert polls.peaks() == ({"browser": 11, "renderer": 25}, 7)
    (point,) = polls.curve
    assert (point.processes, point.group_bytes) == ({"browser": 10, "renderer": 20}, 5)
    assert (polls.cpu_seconds(), polls.throttled_seconds()) == (1.5, 0.5)


def test_without_a_group_the_family_of_the_browser_is_watched(
    scope: FakeScope, tmp_path: Path
) -> None:
    assert scope
    roots: list[int | None] = [None, 1]
    polls = Watch(Timeline(), lambda: roots.pop(0), None, tmp_path / "stderr")
    assert polls.pids() == set()  # not started yet
    assert polls.pids() == {1}
    roots += [1, 1]
    assert polls.cpu_seconds() == 1
    assert polls.peaks() == ({"browser": 11}, None)
    assert polls.throttled_seconds() is None


def test_stderr_becomes_evidence(scope: FakeScope, tmp_path: Path) -> None:
    timeline = Timeline()
    polls = Watch(timeline, lambda: None, scope, tmp_path / "stderr")
    (tmp_path / "stderr").write_text("noise\n[1:2:E:v8_oom.cc] V8 javascript OOM (why).\n")
    polls.read_stderr()
    (item,) = timeline.items
    assert (item.source, item.kind, item.detail["reason"]) == (Source.STDERR, Kind.V8_OOM, "why")


def test_the_polls_run_until_they_are_cancelled(scope: FakeScope, tmp_path: Path) -> None:
    async def until_seen() -> bool:
        timeline = Timeline()
        polls = Watch(timeline, lambda: None, scope, tmp_path / "stderr")
        task = asyncio.create_task(polls.run())
        scope.kills = 1
        seen = await timeline.changed(within=30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return seen

    assert asyncio.run(until_seen())


@pytest.mark.parametrize(
    ("text", "kills"),
    [("nr_free 1\noom_kill 12\nx 3\n", 12), ("oom_kill_not 1\n", None), (None, None)],
)
def test_the_machines_own_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, kills: int | None
) -> None:
    vmstat = tmp_path / "vmstat"
    if text is not None:
        vmstat.write_text(text)
    monkeypatch.setattr(watch, "Path", lambda _: vmstat)
    assert watch.machine_oom_kills() == kills


def test_the_load_average_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[float, float, float]:
        raise OSError

    monkeypatch.setattr("os.getloadavg", refuse)
    assert watch.load_average() is None
