from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence import Timeline, read_stderr_line
from results.record import Evidence, Kind, Source

if TYPE_CHECKING:
    from pydantic import JsonValue

SAMPLES = Path(__file__).parent / "data" / "stderr"
PREFIX = "[123:456:1121/071412.504008:ERROR:some/file.cc:49] "


def said(name: str) -> list[tuple[Kind, dict[str, JsonValue]]]:
    lines = (SAMPLES / f"{name}.txt").read_text("utf-8").splitlines()
    return [found for line in lines if (found := read_stderr_line(line))]


def test_v8_says_why_it_ends() -> None:
    ((kind, detail),) = said("v8heap")
    assert kind is Kind.V8_OOM
    assert detail["reason"] == "Reached heap limit"
    assert str(detail["line"]).endswith("V8 javascript OOM (Reached heap limit).")


@pytest.mark.parametrize("name", ["kill9-gpu", "oom-gpu"])
def test_the_end_of_the_gpu_process_reads_the_same_whoever_killed_it(name: str) -> None:
    ((kind, detail),) = said(name)
    assert kind is Kind.GPU_PROCESS_GONE
    assert detail["exit_code"] == 9


@pytest.mark.parametrize("name", ["chrome-crash", "memory-exhaust", "invalid"])
def test_these_say_nothing_of_memory_or_of_the_gpu_process(name: str) -> None:
    assert len((SAMPLES / f"{name}.txt").read_text("utf-8").splitlines()) >= 4
    assert said(name) == []


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        (
            PREFIX + "V8 javascript OOM (Ineffective mark-compacts near heap limit).",
            Kind.V8_OOM,
            "Ineffective mark-compacts near heap limit",
        ),
        (PREFIX + "V8 process OOM (Zone).", Kind.V8_OOM, "Zone"),
        (
            "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            Kind.V8_OOM,
            "Reached heap limit Allocation failed - JavaScript heap out of memory",
        ),
        (
            "# Fatal JavaScript out of memory: Reached heap limit",
            Kind.V8_OOM,
            "JavaScript out of memory: Reached heap limit",
        ),
        ("Out of memory.", Kind.OUT_OF_MEMORY_LINE, "Out of memory."),
        (PREFIX + "Out of memory. size=7", Kind.OUT_OF_MEMORY_LINE, "Out of memory. size=7"),
        (
            PREFIX + "Oilpan: Out of memory (Large page)",
            Kind.OUT_OF_MEMORY_LINE,
            "Oilpan: Out of memory (Large page)",
        ),
    ],
)
def test_words_of_other_versions(line: str, kind: Kind, reason: str) -> None:
    assert read_stderr_line(line) == (kind, {"reason": reason, "line": line})


@pytest.mark.parametrize(
    "words",
    ["V8 javascript OOM (x)", "Out of memory.", "GPU process exited unexpectedly: exit_code=9"],
)
def test_a_page_cannot_put_words_into_the_browsers_mouth(words: str) -> None:
    assert read_stderr_line(f'{PREFIX}GPUDevice: "{words}"') is None
    assert read_stderr_line(f'{PREFIX}"{words}", source: http://x/ (1)') is None


@given(st.text())
def test_any_line_can_be_read(line: str) -> None:
    for text in (line, f"{PREFIX}V8 javascript OOM ({line})", f"Out of memory{line}"):
        if found := read_stderr_line(text):
            kind, detail = found
            kept = Evidence(at_seconds=0, source=Source.STDERR, kind=kind, detail=detail)
            assert len(kept.text("line")) <= 400
            assert len(kept.text("reason")) <= 400


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_times_count_from_the_start() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    clock.seconds += 1.25
    item = timeline.add(Source.PAGE, Kind.PHASE, name="create")
    assert (timeline.start, timeline.now(), item.at_seconds) == (1000.0, 1.25, 1.25)
    assert item.detail == {"name": "create"}


def test_items_come_by_time_and_the_ending_is_the_first_that_was_told() -> None:
    clock = Clock()
    timeline = Timeline(clock)
    heard: list[Kind] = []
    timeline.listen(lambda item: heard.append(item.kind))
    for seconds, kind in ((3, Kind.PHASE), (2, Kind.RENDERER_GONE), (1, Kind.BROWSER_GONE)):
        clock.seconds = 1000.0 + seconds
        assert timeline.ending is None or timeline.ending.kind is Kind.RENDERER_GONE
        timeline.add(Source.DRIVER, kind)
    assert [item.kind for item in timeline.items] == heard[::-1]
    assert timeline.ending is not None
    assert timeline.ending.kind is Kind.RENDERER_GONE
    assert timeline.first(Kind.PHASE, Kind.BROWSER_GONE) == timeline.items[0]
    assert timeline.first(Kind.DONE) is None


@pytest.mark.parametrize(
    "kind", [Kind.OOM_KILL, Kind.PHASE, Kind.PROCESS_EXIT, Kind.V8_OOM, Kind.GPU_PROCESS_GONE]
)
def test_hints_do_not_end_a_load(kind: Kind) -> None:
    timeline = Timeline()
    timeline.add(Source.HARNESS, kind)
    assert timeline.ending is None


def test_a_change_that_came_before_the_wait_counts_once() -> None:
    async def waits() -> list[bool]:
        timeline = Timeline()
        timeline.add(Source.PAGE, Kind.PHASE)
        timeline.touch()
        return [await timeline.changed(within=0.01) for _ in range(2)]

    assert asyncio.run(waits()) == [True, False]


@pytest.mark.parametrize("sign", ["evidence", "life"])
def test_a_wait_ends_with_a_change(sign: str) -> None:
    async def waits() -> bool:
        timeline = Timeline()
        act = timeline.touch if sign == "life" else lambda: timeline.add(Source.PAGE, Kind.DONE)
        asyncio.get_running_loop().call_soon(act)
        return await timeline.changed(within=30)

    assert asyncio.run(waits())
