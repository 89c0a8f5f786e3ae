from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from harness.devices.android import logcat
from harness.devices.android.adb import CommandError, TransportLostError
from harness.devices.android.logcat import Logcat, LogLine
from tests.harness.devices.android.scripted import ScriptedPhone

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

LINE = "11-26 08:51:33.123   430   430 I lowmemorykiller: Kill 'x' (1), uid 1, oom_score_adj 0"


class Collected:
    def __init__(self, path: Path, phone: ScriptedPhone) -> None:
        self.phone, self.path = phone, path
        self.lines: list[LogLine] = []
        self.lost: list[str] = []
        self.log = Logcat(phone.as_phone(), path, self.lines.append, self.lost.append)


def run(path: Path, test: Callable[[Collected], Coroutine[Any, Any, None]]) -> Collected:
    collected = Collected(path / "logcat.txt", ScriptedPhone())

    async def main() -> None:
        async with asyncio.timeout(20):
            try:
                await test(collected)
            finally:
                await collected.log.stop()

    asyncio.run(main())
    return collected


def test_only_the_lines_of_one_trial(tmp_path: Path) -> None:
    async def test(it: Collected) -> None:
        it.phone.say("--------- beginning of main", LINE.replace("'x'", "'earlier'"))
        await it.log.start()
        assert it.log.running
        it.phone.say(LINE, "no line at all, but kept")
        assert await it.log.catch_up(within=5)
        assert len(it.lines) == 1

    it = run(tmp_path, test)
    assert it.lines[0].message.startswith("Kill 'x'")
    assert it.path.read_text("utf-8") == f"{LINE}\nno line at all, but kept\n"
    assert it.lost == []  # to stop is no loss


@pytest.mark.parametrize("end", [None, TransportLostError("gone"), CommandError("logcat", 1, "")])
def test_a_stream_that_ends_by_itself_is_told_once(tmp_path: Path, end: Exception | None) -> None:
    async def test(it: Collected) -> None:
        await it.log.start()
        it.phone.say(LINE, end)
        it.phone.marks_arrive = False
        assert not await it.log.catch_up(within=5)
        assert not it.log.running
        assert not await it.log.catch_up(within=5)

    it = run(tmp_path, test)
    assert len(it.lost) == 1
    assert len(it.lines) == 1


def test_a_phone_whose_log_cannot_be_marked_is_used_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logcat, "MARK_SECONDS", 0.05)
    monkeypatch.setattr(logcat, "REMARK_SECONDS", 0.02)

    async def test(it: Collected) -> None:
        it.phone.marks_arrive = False
        it.phone.say(LINE)
        await it.log.start()
        assert not it.log.running
        assert not await it.log.catch_up(within=5)

    it = run(tmp_path, test)
    assert it.lines == []
    assert it.path.read_text("utf-8") == ""
    assert it.lost == []


def test_a_mark_that_does_not_come_in_time(tmp_path: Path) -> None:
    async def test(it: Collected) -> None:
        await it.log.start()
        it.phone.marks_arrive = False
        assert not await it.log.catch_up(within=0.02)
        it.phone.marks_arrive = True
        assert await it.log.catch_up(within=5)

    assert run(tmp_path, test).lost == []


def test_a_loop_on_the_phone_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logcat, "LARGEST_FILE", 200)

    async def test(it: Collected) -> None:
        await it.log.start()
        it.phone.say(*[LINE] * 50)
        assert await it.log.catch_up(within=5)

    it = run(tmp_path, test)
    assert len(it.lines) == 50  # evidence is still read
    assert it.path.stat().st_size < 200 + 2 * len(LINE)
