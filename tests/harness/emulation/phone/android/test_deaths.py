"""What Android says of a death, and how a death is explained."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from harness.devices.android.evidence import read_exit_record, read_log_line
from harness.devices.android.exit_info import parse_exit_info
from harness.devices.android.logcat import parse_line
from harness.emulation.phone.android.chrome.inquest import WAIT_SECONDS, Inquest
from harness.emulation.phone.android.deaths import (
    KEPT_TOMBSTONES,
    Cause,
    Ended,
    ForceStopped,
    LowMemory,
    NotNeeded,
    Signaled,
    tell,
)
from harness.emulation.phone.android.logcat import format_entry
from harness.emulation.phone.android.services.activity import size
from harness.emulation.phone.android.state import KEPT_EXITS, Process
from tests.harness.emulation.phone.android.fixtures import CHROME, Handset

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RENDERER = f"{CHROME}:sandboxed_process0:org.chromium.content.app.SandboxedProcessService0:1"
LIMIT = 1 << 30


def process(pid: int = 3946, kind: str = "renderer", rss: int = 700 << 20) -> Process:
    name = {"renderer": RENDERER, "browser": CHROME}.get(kind, f"{CHROME}:privileged_process0")
    return Process(pid, name, 99_001, kind, CHROME, rss=rss, pss=rss)


@pytest.fixture
def phone(tmp_path: Path) -> Handset:
    return Handset(tmp_path)


def lines(phone: Handset) -> list[str]:
    entries = phone.state.log.entries(["main", "system", "events", "crash"])
    return [line for entry in entries for line in format_entry(entry, "tag").splitlines()]


def test_a_memory_kill_is_told_as_lmkd_zygote_and_the_activity_manager_do(phone: Handset) -> None:
    tell(phone.state, process(), LowMemory(LIMIT), phone.place.root)
    said = lines(phone)
    assert said[0].startswith(
        f"I/lowmemorykiller: Kill '{RENDERER}' (3946), uid 99001, oom_score_adj 0 to free "
        "716800kB rss, 0kB swap; reason: low watermark is breached"
    )
    assert "I/Zygote  : Process 3946 exited due to signal 9 (Killed)" in said
    assert f"I/ActivityManager: Process {RENDERER} (pid 3946) has died: fg  TOP " in said
    assert f"I/am_proc_died: [0,3946,{RENDERER},0,2]" in said
    [record] = parse_exit_info(phone.say(f"dumpsys activity exit-info {CHROME}").out)
    assert (record.pid, record.reason, record.process) == (3946, 3, RENDERER)
    assert read_exit_record(record, [CHROME]) is not None


def test_the_harness_takes_a_memory_kill_for_one(phone: Handset) -> None:
    tell(phone.state, process(), LowMemory(LIMIT), phone.place.root)
    entries = phone.state.log.entries(["main", "system"])
    read = [parse_line(format_entry(entry, "threadtime", {"epoch"}).strip()) for entry in entries]
    said = [
        read_log_line(line, [CHROME], lambda _: "renderer") for line in read if line is not None
    ]
    assert any(said)


@pytest.mark.parametrize(
    ("cause", "reason", "words"),
    [
        (Signaled(signal.SIGKILL), 2, "exited due to signal 9 (Killed)"),
        (Signaled(signal.SIGTERM), 2, "exited due to signal 15 (Terminated)"),
        (Signaled(signal.SIGSEGV), 5, "Fatal signal 11 (SIGSEGV), code 1 (SEGV_MAPERR)"),
        (Ended(0), 1, "exited cleanly (0)"),
        (NotNeeded(), 13, "isolated not needed"),
        (ForceStopped(77), 10, f"stop {CHROME} due to from pid 77"),
    ],
)
def test_each_cause_has_its_reason(phone: Handset, cause: Cause, reason: int, words: str) -> None:
    tell(phone.state, process(), cause, phone.place.root / "tombstones")
    [record] = parse_exit_info(phone.say(f"dumpsys activity exit-info {CHROME}").out)
    assert record.reason == reason
    assert any(words in line for line in lines(phone))
    assert not any("lowmemorykiller" in line for line in lines(phone))


def test_a_crash_leaves_a_tombstone_and_the_oldest_goes(phone: Handset) -> None:
    folder = phone.place.root / "tombstones"
    for number in range(KEPT_TOMBSTONES + 2):
        tell(phone.state, process(number + 1), Signaled(signal.SIGABRT), folder)
    assert len(list(folder.iterdir())) == KEPT_TOMBSTONES
    assert any(
        f"pid: {KEPT_TOMBSTONES + 2}," in file.read_text("utf-8") for file in folder.iterdir()
    )
    assert any(line.startswith("F/DEBUG   : signal 6 (SIGABRT)") for line in lines(phone))
    assert len(phone.state.exits[CHROME]) == KEPT_EXITS


def test_sizes_are_printed_as_android_prints_them() -> None:
    assert [size(number) for number in (0, 900, 901, 95 << 20, 1_900 << 20)] == [
        "0.00", "900", "0.88KB", "95MB", "1.9GB",
    ]  # fmt: skip


def kills(answers: int) -> Callable[[], bool]:
    left = [True] * answers
    return lambda: bool(left and left.pop())


def test_a_counted_kill_is_the_largest_of_those_that_died_together() -> None:
    inquest = Inquest(kills(1))
    inquest.dead(process(1, rss=10))
    inquest.dead(process(2, rss=1000))
    inquest.crash("killed", 9)
    assert inquest.decided(LIMIT, stopping=None) == [(process(2, rss=1000), LowMemory(LIMIT))]
    assert inquest.rest(LIMIT, stopping=None) == [(process(1, rss=10), NotNeeded())]


def test_a_renderer_waits_for_the_browsers_word() -> None:
    inquest = Inquest(kills(0))
    inquest.dead(process())
    assert inquest.decided(LIMIT, stopping=None) == []
    inquest.crash("crashed", 11)
    assert inquest.decided(LIMIT, stopping=None) == [(process(), Signaled(11))]


def test_the_gpu_process_waits_for_stderr() -> None:
    inquest = Inquest(kills(0))
    inquest.gpu_exit(9)
    inquest.dead(process(kind="gpu"))
    assert inquest.decided(LIMIT, stopping=None) == [(process(kind="gpu"), Signaled(9))]


def test_who_is_stopped_is_not_murdered() -> None:
    inquest = Inquest(kills(1))
    inquest.dead(process())
    stopped = ForceStopped(1)
    assert inquest.decided(LIMIT, stopping=stopped) == [(process(), stopped)]
    assert inquest.of_browser(-9, LIMIT, stopping=stopped) == stopped
    assert WAIT_SECONDS < 2


@pytest.mark.parametrize(
    ("code", "killed", "cause"),
    [
        (-9, 1, LowMemory(LIMIT)),
        (-9, 0, Signaled(9)),
        (-11, 1, Signaled(11)),
        (1, 1, Ended(1)),
    ],
)
def test_the_browser_itself(code: int, killed: int, cause: Cause) -> None:
    assert Inquest(kills(killed)).of_browser(code, LIMIT, stopping=None) == cause
