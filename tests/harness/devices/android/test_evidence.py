from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.evidence import read_log_line, role_of
from harness.devices.android.logcat import LogLine, parse_line
from results.record import Kind

DATA = Path(__file__).parent / "data"
CHROME = ("com.android.chrome",)
SANDBOXED = "sandboxed_process0:org.chromium.content.app.SandboxedProcessService0:0"


def said(name: str, roles: dict[int, str]) -> list[tuple[Kind, dict[str, Any]]]:
    lines = (DATA / f"{name}.txt").read_text("utf-8").splitlines()
    parsed = filter(None, map(parse_line, lines))
    found = (read_log_line(line, CHROME, lambda pid: roles.get(pid, "")) for line in parsed)
    return [item for item in found if item]


def test_a_kill_for_memory() -> None:
    lmkd, killinfo, zygote = said("logcat-oom", {3946: "renderer"})
    kind, detail = lmkd
    assert kind is Kind.LMK_KILL
    assert (detail["process"], detail["pid"], detail["adj"]) == ("renderer", 3946, 0)
    assert detail["rss_bytes"] == 2266188 << 10
    assert detail["reason"] == "device is low on swap (2413008kB < 2621440kB) and thrashing (120%)"
    assert killinfo[0] is Kind.LMK_KILL
    assert killinfo[1]["process"] == "renderer"
    assert zygote[0] is Kind.PROCESS_EXIT
    assert zygote[1]["signal"] == 9


def test_a_renderer_that_is_not_needed_any_more_is_no_kill_for_memory() -> None:
    (exited,) = said("logcat-normal", {4200: "renderer", 4100: "browser"})
    assert exited[0] is Kind.PROCESS_EXIT
    assert exited[1]["exit_code"] == 0
    assert "signal" not in exited[1]


def test_crashes_a_force_stop_and_a_restart() -> None:
    heap, trap, abort, stop, restart = said("logcat-crash", {})
    assert heap[0] is Kind.V8_OOM
    assert heap[1]["reason"] == "Ineffective mark-compacts near heap limit"
    # The processes were too young to be known by number: their threads say what they are.
    assert (trap[0], trap[1]["process"], trap[1]["signal"]) == (Kind.NATIVE_CRASH, "renderer", 5)
    assert (abort[1]["process"], abort[1]["signal"]) == ("gpu", 6)
    assert (stop[0], stop[1]["process"]) == (Kind.SYSTEM_KILL, "browser")
    assert stop[1]["reason"] == "from pid 4711"
    assert restart[0] is Kind.REBOOTED


@pytest.mark.parametrize(
    ("process", "role"),
    [
        ("com.android.chrome", "browser"),
        (f"com.android.chrome:{SANDBOXED}", "renderer"),
        ("com.android.chrome:sandboxed_process", "renderer"),
        ("com.android.chrome:privileged_process0", "gpu"),
        ("com.android.chrome:privileged_process1", "gpu"),
        ("com.android.chrome_zygote", "utility"),
        ("com.android.chrome:background", "utility"),
        (f"com.google.android.webview:{SANDBOXED}", "renderer"),
        ("com.google.android.webview", "utility"),
        ("com.android.chrome.evil", ""),
        ("com.other", ""),
        ("", ""),
    ],
)
def test_roles(process: str, role: str) -> None:
    assert role_of(process, (*CHROME, "com.google.android.webview")) == role


@pytest.mark.parametrize(
    "text",
    [
        "11-26 08:51:33.123   430   430 I lowmemorykiller: Kill 'com.x' (1), uid 1",
        "2026-11-26 08:51:33.123456 +0100   430   430 I lowmemorykiller: text",
        "1795684200.200  u0_a152  4301  4310 I lowmemorykiller : text",
        "11-26 08:51:33.123  root   430   430 I lowmemorykiller: text",
    ],
)
def test_lines_in_all_their_forms(text: str) -> None:
    line = parse_line(text)
    assert line is not None
    assert line.tag == "lowmemorykiller"
    assert line.priority == "I"
    assert line.pid in {430, 4301}


@pytest.mark.parametrize(
    "text", ["", "--------- beginning of main", "\0\0", "11-26 08:51:33.123", "x" * 9999]
)
def test_what_is_no_line(text: str) -> None:
    assert parse_line(text) is None


TAGS = st.sampled_from(["lowmemorykiller", "killinfo", "ActivityManager", "Zygote", "libc"])
WORDS = st.sampled_from(
    ["Kill 'com.android.chrome' (1), uid 1, oom_score_adj 0", "[1,2,3,", "Killing 1:x/u0 (adj 1)"]
)


@given(TAGS | st.text(), st.text() | st.builds(lambda a, b: a + b, WORDS, st.text()))
def test_never_raises(tag: str, message: str) -> None:
    line = LogLine(time="", pid=1, tid=1, priority="E", tag=tag, message=message)
    found = read_log_line(line, CHROME, lambda _: "renderer")
    assert found is None or found[1]


@given(st.text())
def test_no_line_raises(text: str) -> None:
    parse_line(text)
