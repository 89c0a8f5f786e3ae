from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.base import TabLostError
from harness.evidence import Timeline
from harness.load import TEXT_CHARACTERS, Deadlines, Follower, LoadLog, full_load
from harness.verdict import judge
from results.record import Evidence, GpuUse, Kind, Source, StorageUse, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pydantic import JsonValue

    from harness.devices.base import MemorySample, OnEvent, PageEvent

    Script = Callable[[OnEvent, Timeline], None]

SHORT = Deadlines(load_seconds=0.05, token_seconds=0.02)


def follow(*events: Any) -> tuple[Follower, Timeline]:
    timeline = Timeline()
    follower = Follower(timeline, lambda: 2.0, lambda _: None)
    for event in events:
        follower.on_event(event)
    return follower, timeline


def phase(name: str, at_ms: float) -> PageEvent:
    return {"type": "phase", "name": name, "at_ms": at_ms}


def token(number: int, ms: float = 10) -> PageEvent:
    return {"type": "tokens", "ids": [number], "ms": ms, "finite": number >= 0}


def test_phases_are_closed_by_the_next_one_and_by_the_end() -> None:
    follower, timeline = follow(
        phase("download", 100),
        {"type": "progress", "done": 5 << 20, "total": 9 << 20},
        phase("first-token", 1600),
        token(4),
        token(-1),
        {"type": "done", "tokens": 2, "finite": False, "at_ms": 1700},
        {"type": "disposed", "at_ms": 1701},
    )
    log = follower.log
    assert [(p.name, p.wall_seconds, p.cpu_seconds) for p in log.phases] == [
        ("download", 1.5, 0.0),
        ("first-token", 0.1, 0.0),
    ]
    assert (log.seconds("download"), log.seconds("create")) == (1.5, None)
    assert (log.tokens, log.token_ms, log.bytes_loaded) == ([4, -1], [10, 10], 5 << 20)
    assert [item.kind for item in timeline.items] == [Kind.PHASE, Kind.PHASE, Kind.DONE]
    assert timeline.items[-1].detail == {"tokens": 2, "finite": False}


def test_a_clock_that_goes_back_gives_no_negative_time() -> None:
    follower, _ = follow(phase("download", 100), phase("create", 50))
    assert follower.log.seconds("download") == 0


@pytest.mark.parametrize(
    ("event", "kind", "detail"),
    [
        (
            {"type": "error", "name": "RangeError", "message": "m"},
            Kind.ENGINE_ERROR,
            {"name": "RangeError", "message": "m", "stack": ""},
        ),
        ({"type": "unsupported", "reason": "r"}, Kind.UNSUPPORTED, {"reason": "r"}),
        (
            {"type": "device-lost", "reason": "unknown", "message": "m"},
            Kind.DEVICE_LOST,
            {"reason": "unknown", "message": "m"},
        ),
        ({"type": "validation", "message": "m"}, Kind.VALIDATION, {"message": "m"}),
    ],
)
def test_what_the_page_reports_becomes_evidence(
    event: PageEvent, kind: Kind, detail: dict[str, str]
) -> None:
    _, timeline = follow(event)
    assert [(i.source, i.kind, i.detail) for i in timeline.items] == [(Source.PAGE, kind, detail)]


def test_what_an_engine_tells_of_itself() -> None:
    follower, timeline = follow(
        {"type": "prompt", "tokens": 17},
        {"type": "tokens", "ids": [300, 301, 302], "ms": 30, "finite": None},
        {"type": "warm", "ms": 12.5},
        {"type": "gpu", "bytes": 1, "peak_bytes": 7, "pipelines": 3, "compile_ms": 1500},
        {"type": "storage", "quota_bytes": 9, "usage_before_bytes": None, "persisted": False},
        {"type": "done", "tokens": 3, "finite": None, "at_ms": 50},
    )
    log = follower.log
    assert (log.prompt_tokens, log.warm_ms) == (17, 12.5)
    assert (log.tokens, log.token_ms) == ([300, 301, 302], [10, 10, 10])
    assert log.first_batch == 3
    assert log.gpu == GpuUse(peak_bytes=7, pipelines=3, compile_seconds=1.5)
    assert log.storage == StorageUse(quota_bytes=9, persisted=False)
    assert judge(timeline.items).verdict is Verdict.OK


def test_an_engine_without_webgpu_has_no_figures_of_it() -> None:
    follower, _ = follow(
        {"type": "gpu", "bytes": 0, "peak_bytes": 0, "pipelines": 0, "compile_ms": 0}
    )
    assert follower.log == LoadLog()


def test_a_run_on_the_wrong_processor_and_a_file_of_another_kind() -> None:
    for kind, verdict in (("cpu-fallback", "unsupported"), ("artifact-refused", "infra")):
        _, timeline = follow({"type": kind, "message": "0 bytes"})
        judged = judge(timeline.items)
        assert judged.verdict == verdict
        assert "0 bytes" in judged.explanation


HOSTILE: list[Any] = [
    None,
    7,
    "phase",
    [],
    {},
    {"type": None},
    {"type": "no-such-event"},
    {"type": "_init__"},
    {"type": ["phase"]},
    {"type": "phase"},
    {"type": "phase", "name": "create", "at_ms": "soon"},
    {"type": "phase", "name": "create", "at_ms": float("nan")},
    {"type": "phase", "name": "create", "at_ms": None},
    {"type": "progress", "done": float("inf"), "total": 1},
    {"type": "progress", "done": -1, "total": 1},
    {"type": "tokens", "ids": [float("inf")], "ms": 1},
    {"type": "tokens", "ids": ["9" * 5000], "ms": 1},
    {"type": "tokens", "ids": [1], "ms": float("nan")},
    {"type": "tokens", "ids": [1], "ms": -1},
    {"type": "tokens", "ids": 1, "ms": 1},
    {"type": "prompt", "tokens": -1},
    {"type": "warm", "ms": "long"},
    {"type": "gpu", "pipelines": 1},
    {"type": "gpu", "pipelines": 1, "peak_bytes": 1, "compile_ms": float("inf")},
    {"type": "storage", "quota_bytes": "much"},
    {"type": "cpu-fallback"},
    {"type": "artifact-refused"},
    {"type": "done", "tokens": 3, "finite": True, "at_ms": 1},
    {"type": "done", "tokens": 0, "at_ms": 1},
    {"type": "error"},
]


@pytest.mark.parametrize("event", HOSTILE, ids=str)
def test_an_event_that_makes_no_sense_is_the_labs_error(event: Any) -> None:
    follower, timeline = follow(event)
    assert [item.kind for item in timeline.items] == [Kind.LAB_ERROR]
    assert timeline.items[0].text("message").startswith("malformed page event: ")
    assert follower.log == LoadLog()
    assert judge(timeline.items).verdict is Verdict.INFRA


def test_texts_of_a_page_are_cut() -> None:
    _, timeline = follow(
        {"type": "error", "name": "n" * 10**6, "message": "m" * 10**6, "stack": "s" * 10**6},
        {"type": "x" * 10**6},
    )
    for item in timeline.items:
        assert all(len(str(value)) < TEXT_CHARACTERS + 100 for value in item.detail.values())


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters()),
        st.just("\ud800 half a character"),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
TYPES = ["phase", "progress", "tokens", "done", "disposed", "error", "unsupported", "device-lost",
         "prompt", "warm", "gpu", "storage", "cpu-fallback", "artifact-refused", "validation",
         "event", "_class__", "nonsense"]  # fmt: skip
EVENTS = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"type": st.one_of(st.sampled_from(TYPES), VALUES)},
        optional=dict.fromkeys(
            ["name", "at_ms", "done", "total", "ids", "ms", "tokens", "finite", "message",
             "reason", "stack", "pipelines", "peak_bytes", "compile_ms", "quota_bytes",
             "persisted"],
            VALUES,
        ),
    ),
)  # fmt: skip


@given(st.lists(EVENTS, max_size=6))
def test_nothing_that_a_page_sends_raises(events: list[Any]) -> None:
    follower, timeline = follow(*events)
    for item in timeline.items:
        assert Evidence.model_validate_json(item.model_dump_json()) == item
    assert all(p.wall_seconds >= 0 for p in follower.log.phases)
    assert len(follower.log.tokens) == len(follower.log.token_ms)
    judge(timeline.items)


# --- the whole load, on a session that a script plays ------------------------------------------


class ScriptedTab:
    def __init__(self, session: ScriptedSession, on_event: OnEvent) -> None:
        self._session, self._on_event = session, on_event
        self.pictures = 0
        self.picked: tuple[str, list[Path]] | None = None

    async def call(self, function: str, argument: JsonValue, *, within: float) -> JsonValue:
        assert within > 0
        self._session.called.append((function, argument))
        self._session.script(self._on_event, self._session.timeline)
        return True

    async def screenshot(self, path: Path) -> bool:
        assert path.name == "screenshot.png"
        self.pictures += 1
        return True

    async def set_files(self, selector: str, paths: Sequence[Path]) -> None:
        self.picked = (selector, list(paths))

    async def close(self) -> None:
        raise AssertionError("the session closes its tabs")


class ScriptedSession:
    def __init__(self, timeline: Timeline, script: Script) -> None:
        self.timeline, self.script = timeline, script
        self.called: list[Any] = []
        self.settled = 0
        self.tab: ScriptedTab | None = None

    async def open_tab(self, url: str, on_event: OnEvent) -> ScriptedTab:
        assert url == "http://page"
        self.tab = ScriptedTab(self, on_event)
        return self.tab

    async def renew(self, timeline: Timeline) -> None:
        raise AssertionError(f"one load needs no renewal, to {timeline}")

    def memory_curve(self) -> list[MemorySample]:
        return []

    def peak_memory(self) -> tuple[dict[str, int], int | None]:
        return {}, None

    def cpu_seconds(self) -> float | None:
        return None

    def throttled_seconds(self) -> float | None:
        return None

    async def settle(self) -> None:
        self.settled += 1


class UnopenedSession(ScriptedSession):
    async def open_tab(self, url: str, on_event: OnEvent) -> ScriptedTab:  # noqa: ARG002
        raise TabLostError(f"{url} could not be opened")


class Load:
    """One load, and what is left of it."""

    def __init__(
        self,
        tmp_path: Path,
        script: Script,
        *,
        deadlines: Deadlines = SHORT,
        kind: type[ScriptedSession] = ScriptedSession,
        picks: Sequence[Path] = (),
    ) -> None:
        self.timeline = Timeline()
        self.session = kind(self.timeline, script)
        self.progress: list[str] = []
        self.log = asyncio.run(
            full_load(
                self.session,
                self.timeline,
                url="http://page",
                job={"workload": "w"},
                deadlines=deadlines,
                screenshot=tmp_path / "screenshot.png",
                progress=self.progress.append,
                picks=picks,
            )
        )
        self.judged = judge(self.timeline.items)

    @property
    def pictures(self) -> int:
        return self.session.tab.pictures if self.session.tab else 0


def play(*events: PageEvent) -> Script:
    def script(emit: OnEvent, _: Timeline) -> None:
        for event in events:
            emit(json.loads(json.dumps(event)))

    return script


def test_a_load_that_ends_well(tmp_path: Path) -> None:
    load = Load(
        tmp_path,
        play(
            phase("create", 0),
            token(1),
            {"type": "done", "tokens": 1, "finite": True, "at_ms": 9},
        ),
    )
    assert load.judged.verdict is Verdict.OK
    assert load.session.called == [("tierlabStart", {"workload": "w"})]
    assert (load.pictures, load.session.settled) == (1, 1)
    assert load.progress == ["create", "token 1"]


def test_files_are_picked_before_the_start(tmp_path: Path) -> None:
    paths = [tmp_path / "model.onnx"]
    load = Load(tmp_path, play(), picks=paths)
    assert load.session.tab is not None
    assert load.session.tab.picked == ("#files", paths)


def test_silence_is_a_hang_of_the_phase_that_fell_silent(tmp_path: Path) -> None:
    load = Load(tmp_path, play(phase("create", 0)))
    assert (load.judged.verdict, load.judged.cause) == (Verdict.HANG, "deadline")
    deadline = load.timeline.first(Kind.DEADLINE)
    assert deadline is not None
    assert deadline.text("phase") == "create"
    assert load.pictures == 1


def test_each_phase_has_its_deadline() -> None:
    deadlines = Deadlines(load_seconds=3, token_seconds=2)
    assert [deadlines.of(p) for p in ("start", "download", "create", "first-token", "decode")] == [
        3, 3, 3, 2, 2,
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.RENDERER_GONE, Kind.BROWSER_GONE])
def test_a_dead_page_is_not_drawn(tmp_path: Path, kind: Kind) -> None:
    def script(_: OnEvent, timeline: Timeline) -> None:
        timeline.add(Source.DRIVER, kind)

    load = Load(tmp_path, script)
    assert (load.judged.verdict, load.pictures) == (Verdict.CRASH, 0)


@pytest.mark.parametrize("process", ["renderer", "browser"])
def test_the_kernels_word_and_an_end_are_enough(tmp_path: Path, process: str) -> None:
    def script(_: OnEvent, timeline: Timeline) -> None:
        timeline.add(Source.CGROUP, Kind.OOM_KILL)
        timeline.add(Source.PROCESS, Kind.PROCESS_EXIT, process=process)

    load = Load(tmp_path, script, deadlines=Deadlines())
    assert (load.judged.cause, load.pictures) == ("kernel-oom", 0)
    assert load.timeline.first(Kind.DEADLINE) is None


def test_a_renderer_that_ended_before_the_kill_is_another_one(tmp_path: Path) -> None:
    def script(_: OnEvent, timeline: Timeline) -> None:
        timeline.add(Source.PROCESS, Kind.PROCESS_EXIT, process="renderer")
        timeline.add(Source.PROCESS, Kind.PROCESS_EXIT, process="gpu")
        asyncio.get_running_loop().call_later(
            0.001, lambda: timeline.add(Source.CGROUP, Kind.OOM_KILL)
        )

    load = Load(tmp_path, script, deadlines=Deadlines(0.05, 0.05))
    # The page was given its time, and a picture was tried: it is not known to be dead.
    assert load.timeline.first(Kind.DEADLINE) is not None
    assert (load.judged.cause, load.pictures) == ("kernel-oom", 1)


def test_a_load_may_go_on_after_a_kill_of_something_else(tmp_path: Path) -> None:
    def script(emit: OnEvent, timeline: Timeline) -> None:
        timeline.add(Source.CGROUP, Kind.OOM_KILL)
        emit(token(1))
        emit({"type": "done", "tokens": 1, "finite": True, "at_ms": 9})

    assert Load(tmp_path, script).judged.verdict is Verdict.OK


def test_a_page_that_cannot_be_reached_without_a_reason_is_the_labs_fault(tmp_path: Path) -> None:
    def script(_: OnEvent, __: Timeline) -> None:
        raise TabLostError("tierlabStart did not answer within 30 s")

    load = Load(tmp_path, script)
    assert (load.judged.verdict, load.judged.cause) == (Verdict.INFRA, "lab")
    assert "did not answer" in load.judged.explanation


def test_a_page_that_cannot_be_reached_because_it_died_is_judged_by_its_death(
    tmp_path: Path,
) -> None:
    def script(_: OnEvent, timeline: Timeline) -> None:
        timeline.add(Source.CDP, Kind.RENDERER_GONE, status="crashed", code=11)
        raise TabLostError("Target crashed")

    load = Load(tmp_path, script)
    assert load.judged.cause == "segfault"
    assert load.timeline.first(Kind.LAB_ERROR) is None


def test_a_page_that_does_not_open_is_the_labs_fault(tmp_path: Path) -> None:
    load = Load(tmp_path, play(), kind=UnopenedSession)
    assert (load.judged.verdict, load.pictures) == (Verdict.INFRA, 0)
    assert load.log == LoadLog()
