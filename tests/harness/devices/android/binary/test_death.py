from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.binary.death import findings, last_words, read_all
from harness.devices.android.binary.script import Ended, Memory, Started, read_line
from harness.devices.android.logcat import LogLine
from harness.evidence import Timeline
from harness.verdict import Judged, judge
from results.record import Kind, Verdict

GIB = 1 << 30
FULL = Memory(resident=6 * GIB, peak=6 * GIB, swapped=0, available=GIB // 8)
ROOMY = Memory(resident=GIB, peak=GIB, swapped=0, available=5 * GIB)


def line(tag: str, message: str) -> LogLine:
    return LogLine("11-26 09:00:00.000", 500, 500, "I", tag, message)


def told(
    ended: Ended, errors: str = "", last: Memory | None = ROOMY, log: list[LogLine] | None = None
) -> Judged:
    timeline = Timeline()
    found = read_all(log or [], 4711)
    known = any(f.kind is Kind.LMK_KILL for f in found)
    found += findings(ended, errors, measured=False, last=last, memory_bytes=8 * GIB, told=known)
    for item in found:
        timeline.add(item.source, item.kind, **item.detail)
    return judge(timeline.items)


def test_a_kill_on_a_full_phone_is_for_memory_and_says_why_it_is_thought_so() -> None:
    judged = told(Ended(137), last=FULL)
    assert (judged.verdict, judged.cause) == (Verdict.OOM, "low-memory-killer")
    assert "SIGKILL: from nobody, with 1.6% of the phone's memory left" in judged.explanation


def test_a_kill_on_a_phone_with_room_is_somebody_elses() -> None:
    assert told(Ended(137)).verdict is Verdict.CRASH
    assert told(Ended(137), last=None).verdict is Verdict.CRASH
    assert told(Ended(143), last=FULL).verdict is Verdict.CRASH


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (
            "lowmemorykiller",
            "Kill 'llama-bench' (4711), uid 2000, oom_score_adj 0 to free 9kB rss; reason: low",
        ),
        (
            "kernel",
            "Out of memory: Killed process 4711 (llama-bench) total-vm:9000000kB, anon-rss:1kB",
        ),
        (
            "kernel",
            "Memory cgroup out of memory: Killed process 4711 (llama-bench) total-vm:9kB",
        ),
    ],
)
def test_the_phones_log_names_a_memory_kill(tag: str, message: str) -> None:
    judged = told(Ended(137), log=[line("am", "noise"), line(tag, message)])
    assert judged.verdict is Verdict.OOM
    assert message[:20] in judged.explanation
    other = message.replace("4711", "4712")
    assert told(Ended(137), log=[line(tag, other)]).verdict is Verdict.CRASH


def test_a_log_that_speaks_of_a_full_phone_too_is_told_once() -> None:
    log = [line("kernel", "Out of memory: Killed process 4711 (x) total-vm:1kB")]
    found = findings(Ended(137), "", measured=False, last=FULL, memory_bytes=8 * GIB, told=True)
    assert [item.kind for item in found] == [Kind.CHILD_GONE]
    assert told(Ended(137), last=FULL, log=log).verdict is Verdict.OOM


def test_a_program_that_measured_and_ended_well_gives_no_finding() -> None:
    assert not findings(Ended(0), "", measured=True, last=None, memory_bytes=0)


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ("", ""),
        ("one\n\n  two \n", "two"),
        ("error: no\nat 0x1\n", "error: no"),
        ("x" * 900, "x" * 400),
    ],
)
def test_last_words_are_those_that_tell(errors: str, words: str) -> None:
    assert last_words(errors) == words


@given(st.integers(0, 255), st.text(), st.booleans())
def test_every_end_has_a_verdict(code: int, errors: str, measured: bool) -> None:
    found = findings(Ended(code), errors, measured=measured, last=FULL, memory_bytes=GIB)
    assert bool(found) is not (measured and code == 0)


@given(st.text(), st.text())
def test_no_line_of_a_log_makes_it_raise(tag: str, message: str) -> None:
    read_all([line(tag, message), line("lowmemorykiller", message), line("kernel", message)], 1)


# --- the script's lines --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@ pid 17", Started(17)),
        ("@ exit 137", Ended(137)),
        ("@ mem 10 20 0 40\r", Memory(10240, 20480, 0, 40960)),
        ("@ mem 10 20 0", None),
        ("@ mem 10 20 0 -1", None),
        ("@ exit 999", None),
        ("@ pid 0", None),
        ("@ pid 1 2", None),
        ("mksh: ./x: not found", None),
    ],
)
def test_lines_of_the_script(text: str, found: object) -> None:
    assert read_line(text) == found


def test_a_signal_is_told_from_a_code() -> None:
    assert (Ended(137).signal, Ended(128).signal, Ended(1).signal) == (9, None, None)


@given(st.text())
def test_no_line_makes_it_raise(text: str) -> None:
    read_line(text)
    read_line(f"@ mem {text}")
