from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.android.evidence import read_exit_record
from harness.devices.android.exit_info import (
    CRASH_NATIVE,
    LOW_MEMORY,
    OTHER,
    PACKAGE_UPDATED,
    SIGNALED,
    USER_REQUESTED,
    ExitRecord,
    answers,
    new_records,
    parse_exit_info,
    parse_size,
)
from results.record import Kind

DATA = Path(__file__).parent / "data"
CHROME = ("com.android.chrome",)
NEW = (DATA / "exit-info-android16.txt").read_text("utf-8")
OLD = (DATA / "exit-info-android11.txt").read_text("utf-8")


def test_several_keys_a_line() -> None:
    records = parse_exit_info(NEW)
    assert answers(NEW)
    assert [record.reason for record in records] == [
        PACKAGE_UPDATED,
        LOW_MEMORY,
        SIGNALED,
        OTHER,
        USER_REQUESTED,
        LOW_MEMORY,
    ]
    assert records[1] == ExitRecord(
        timestamp="2026-09-25 00:33:03.880",
        pid=4189,
        process="com.android.chrome:sandboxed_process0:"
        "org.chromium.content.app.SandboxedProcessService0:3",
        reason=LOW_MEMORY,
        subreason="",
        status=0,
        importance=100,
        rss_bytes=round(2.5 * (1 << 30)),
        description="",
    )
    assert records[3].subreason == "ISOLATED NOT NEEDED"
    assert records[4].description == "stop com.android.chrome due to from pid 29163"
    assert records[5].subreason == "OOM KILL"


def test_one_key_a_line() -> None:
    killed, crashed = parse_exit_info(OLD)
    assert (killed.pid, killed.reason, killed.status) == (22514, SIGNALED, 9)
    assert killed.rss_bytes == round(1.2 * (1 << 30))
    assert (crashed.pid, crashed.reason, crashed.status) == (20011, CRASH_NATIVE, 11)
    assert crashed.reason_name == "CRASH_NATIVE"


def test_records_as_evidence() -> None:
    said = [read_exit_record(record, CHROME) for record in parse_exit_info(NEW)]
    roles = [detail["process"] for kind, detail in filter(None, said) if kind is Kind.EXIT_RECORD]
    # The fourth is of a process that nobody needed any more: no evidence.
    assert roles == ["browser", "renderer", "gpu", "browser", "browser"]
    other = ExitRecord(timestamp="", pid=1, process="com.android.chromex", reason=3)
    assert read_exit_record(other, CHROME) is None


def test_what_is_new_is_what_was_not_there_or_has_another_reason() -> None:
    older = parse_exit_info(NEW)[2:]
    killed, updated = new_records(older, parse_exit_info(NEW))
    assert (killed.pid, updated.pid) == (4189, 10950)  # the oldest first
    first = ExitRecord(timestamp="t", pid=1, process="p", reason=SIGNALED, status=9)
    completed = ExitRecord(timestamp="t", pid=1, process="p", reason=LOW_MEMORY)
    assert new_records([first], [completed]) == [completed]
    assert new_records(older, older) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("0.00", None), ("131MB", 131 << 20), ("0.98KB", 1004), ("45", 45), ("x", None), ("", None)],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "Unknown command: exit-info\n", "\0" * 99, NEW[:40]])
def test_no_records(text: str) -> None:
    assert parse_exit_info(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "ApplicationExitInfo #0:\n pid=1\n",
        "ApplicationExitInfo #0:\n pid=x reason=3 (LOW_MEMORY)\n",
        "ApplicationExitInfo #0:\n reason=3 (LOW_MEMORY)\n",
    ],
)
def test_a_record_without_its_number_or_reason_is_none(text: str) -> None:
    assert parse_exit_info(text) == []


def test_a_description_cannot_speak_for_other_keys() -> None:
    text = (
        "ApplicationExitInfo #0:\n pid=1 reason=1 (EXIT_SELF) status=0\n"
        " description=x reason=3 (LOW_MEMORY) process=com.android.chrome\n"
    )
    (record,) = parse_exit_info(text)
    assert record.reason == 1


def scrambled(text: str) -> st.SearchStrategy[str]:
    """The text with lines lost, doubled and cut, and anything between them."""
    piece = st.sampled_from(text.splitlines()) | st.text(max_size=60)
    cut = st.builds(lambda line, at: line[:at], piece, st.integers(0, 200))
    return st.lists(piece | cut, max_size=40).map("\n".join)


@given(st.text() | scrambled(NEW) | scrambled(OLD))
def test_never_raises(text: str) -> None:
    for record in parse_exit_info(text):
        assert isinstance(record.pid, int)
        read_exit_record(record, CHROME)
