from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.ios.reports import (
    CrashReport,
    JetsamReport,
    Jettisoned,
    evidence_of,
    parse_report,
)
from results.record import Kind

DATA = Path(__file__).parent / "data"


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_apples_own_example() -> None:
    assert parse_report(read("jetsam-ipad.ips")) == JetsamReport(
        time="2019-10-10 23:30:39.48 -0700",
        product="iPad8,2",
        build="iPhone OS 13.1.2 (17A860)",
        largest="OneCoolApp",
        ended=(Jettisoned("MyCoolApp", 0, "per-process-limit", 92802 * 16384, frontmost=True),),
    )


def test_a_limit_is_what_the_process_had() -> None:
    found = parse_report(read("jetsam-iphone.ips"))
    assert isinstance(found, JetsamReport)
    (ended,) = found.ended
    assert (ended.name, ended.pid) == ("MemoryTest", 2541)
    assert ended.resident_bytes == 1400 << 20


def test_processes_without_a_reason_were_not_ended() -> None:
    found = parse_report(read("jetsam-2026.ips"))
    assert isinstance(found, JetsamReport)
    assert [ended.name for ended in found.ended] == ["financed"]
    assert found.largest == "TGOnDeviceInferenceProviderServi"


def test_a_crash() -> None:
    found = parse_report(read("crash.ips"))
    assert found == CrashReport(
        time="2026-06-14 15:08:18.5000 -0600",
        process="CoreMLLLMChat",
        pid=977,
        signal="SIGSEGV",
        exception="EXC_BAD_ACCESS",
        reason="Segmentation fault: 11",
    )
    ((kind, detail),) = evidence_of(found, {"CoreMLLLMChat": "engine"})
    assert (kind, detail["process"]) == (Kind.NATIVE_CRASH, "engine")
    assert evidence_of(found) == []


def jetsam(name: str, reason: str = "per-process-limit", **more: Any) -> str:
    """The published report of an iPhone, about another process."""
    head, _, body = read("jetsam-iphone.ips").partition("\n")
    report = json.loads(body)
    report["processes"][0] |= {"name": name, "reason": reason, **more}
    return f"{head}\n{json.dumps(report)}"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("com.apple.WebKit.WebContent", "renderer"),
        ("com.apple.WebKit.GPU", "gpu"),
        ("MobileSafari", "browser"),
    ],
)
def test_the_processes_of_safari_are_known(name: str, role: str) -> None:
    report = parse_report(jetsam(name))
    assert report is not None
    ((kind, detail),) = evidence_of(report)
    assert kind is Kind.LMK_KILL
    assert detail["process"] == role
    assert detail["rss_bytes"] == 1400 << 20
    assert (detail["killer"], detail["reason"]) == ("jetsam", "per-process-limit")


@pytest.mark.parametrize(
    "reason", ["vnode-limit", "idle-exit", "jettisoned", "disk-space-shortage"]
)
def test_an_end_that_is_not_for_memory_is_no_evidence_of_one(reason: str) -> None:
    report = parse_report(jetsam("com.apple.WebKit.WebContent", reason))
    assert isinstance(report, JetsamReport)
    assert report.ended
    assert evidence_of(report) == []


def test_other_processes_are_ended_all_the_time() -> None:
    report = parse_report(jetsam("mediaanalysisd"))
    assert report is not None
    assert evidence_of(report) == []


def test_a_name_that_ios_cut_is_the_process() -> None:
    long = "An app with a very long name of its own"
    report = parse_report(jetsam(long[:32]))
    assert report is not None
    assert evidence_of(report, {long: "engine"})
    assert not evidence_of(report, {"Another": "engine"})


@pytest.mark.parametrize(
    "text",
    ["", "\n", "{}", "[]", "null", '{"bug_type":"309"}', '{"bug_type":"298"}\n[]', "{" * 50_000],
)
def test_what_is_no_report(text: str) -> None:
    found = parse_report(text)
    assert found is None or not evidence_of(found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["processes", "memoryStatus", "pageSize", "reason", "rpages", "name", "pid"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.text(), JSON)
def test_no_report_makes_it_raise(text: str, body: object) -> None:
    for report in (
        text,
        f'{{"bug_type":"298"}}\n{json.dumps(body)}',
        f'{{"bug_type":"309"}}\n{text}',
    ):
        found = parse_report(report)
        for _, detail in evidence_of(found) if found else []:
            assert isinstance(detail["process"], str)
