"""The matrix as Markdown: what it says, and that nobody else can say anything by it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.matrix.markdown import text, to_markdown
from results.record import Verdict
from results.table import plain
from tests.results.matrix.gfm import AUTOLINKED, rendered
from tests.results.matrix.stores import (
    HOSTILE,
    HOSTILE_RECORDS,
    NOW,
    matrix_of,
    trial,
    with_conditions,
    with_device,
    with_speeds,
    with_workload,
)

if TYPE_CHECKING:
    from results.record import Record

OUR_TAGS = {
    "a", "em", "h1", "h2", "h3", "p", "strong", "table", "tbody", "td", "th", "thead", "tr",
}  # fmt: skip
# What markup is made of, so that it is tried in all combinations.
MARKUP = st.text(st.sampled_from("|\\`*_[]()<>&;~$#!@:/.-+=\"' \nwa1{}"), max_size=30)
ANYTHING = st.sampled_from(HOSTILE) | MARKUP | st.text(max_size=40)


# ---- what it says ----


def test_the_overview_shows_the_best_runtime_of_each_device_and_model() -> None:
    slow = with_speeds(trial(1), decode=6.0, prefill=60.0)
    fast = with_speeds(with_workload(trial(2), runtime="wllama/wasm"), decode=12.0, prefill=90.0)
    broken = with_workload(trial(3, verdict=Verdict.OOM), model="gemma-2-2b-it")
    page = rendered(to_markdown(matrix_of(slow, fast, broken)))
    name = "A machine: a processor, 2 cores, 8 GiB"
    assert page.rows[:2] == [
        ["device", "gemma-2-2b-it", "gemma-2b"],
        [name, "out of memory (onnxruntime-web/wasm int4)", "medium, 12 tok/s (wllama/wasm int4)"],
    ]


def test_details_show_what_was_measured_and_predicted() -> None:
    trials = [with_speeds(trial(n), decode=7.0 + n, prefill=60.0) for n in range(3)]
    page = rendered(to_markdown(matrix_of(*trials)))
    heads, cells = page.rows[2], page.rows[3]
    row = dict(zip(heads, cells, strict=True))
    assert row["model and runtime"] == "gemma-2b, onnxruntime-web/wasm int4"
    assert row["result"] == "low"
    assert row["decode tok/s"] == "8 (7 to 9), predicted 6 (3 to 12)"
    assert row["peak GB"] == "4.50 (4.50 to 4.50), predicted 5.00 (2.50 to 10.00)"
    assert (row["predicted"], row["n"]) == ("low", "3")
    assert row["versions"] == "chromium 140.0, runtime 1.2"
    assert row["evidence"] == "tokens"
    assert "evidence/trial-002.json" in page.links


def test_what_decides_the_tier_is_named() -> None:
    page = rendered(to_markdown(matrix_of(with_speeds(trial(1), decode=30.0, prefill=10.0))))
    assert page.rows[1][1] == "too slow, prefill 10 tok/s (onnxruntime-web/wasm int4)"


def test_limited_devices_and_software_adapters_are_labelled() -> None:
    limited = with_device(trial(1), emulated=True, name="Small")
    software = with_conditions(
        with_workload(trial(2), runtime="mediapipe/webgpu"), software_adapter=True
    )
    written = to_markdown(matrix_of(limited, software))
    own, _, others = written.partition("## Limited and emulated devices")
    assert "Nothing was measured yet." in own
    assert "Small" not in own
    small, _, adapters = others.partition("## Software adapters")
    assert "Not the figures of any product" in small
    assert "Small: a processor, 2 cores, 8 GiB (limited)" in small
    assert "Not the figures of any GPU" in adapters
    assert "(software adapter)" in adapters


def test_sections_without_cells_are_left_out() -> None:
    written = to_markdown(matrix_of(trial(1)))
    assert "Limited devices" not in written
    assert "Software adapters" not in written


def test_what_is_out_of_date_is_marked() -> None:
    fresh = matrix_of(trial(0))
    assert "out of date" not in "".join(map("".join, rendered(to_markdown(fresh)).rows))
    page = rendered(to_markdown(matrix_of(trial(0), now=NOW + timedelta(days=90))))
    assert page.rows[1][1].endswith("(onnxruntime-web/wasm int4) out of date")
    assert "2025-05-01 out of date" in page.rows[3]


def test_what_runs_and_is_up_to_date_comes_before_what_is_not() -> None:
    old = with_speeds(trial(0), decode=30.0, prefill=200.0)
    new = with_speeds(with_workload(trial(2000), runtime="wllama/wasm"), decode=1.0, prefill=1.0)
    page = rendered(to_markdown(matrix_of(old, new, now=NOW + timedelta(days=70))))
    assert page.rows[1][1].startswith("too slow, 1 tok/s (wllama/wasm int4)")


def test_the_labs_own_faults_are_told() -> None:
    page = rendered(to_markdown(matrix_of(trial(1), trial(2, verdict=Verdict.INFRA))))
    assert "From 1 trials, and 1 more that failed by the lab's own fault" in page.text


def test_links_can_lead_elsewhere_or_be_left_out() -> None:
    matrix = matrix_of(trial(1))
    elsewhere = rendered(to_markdown(matrix, lambda address: f"../published/{address}"))
    assert elsewhere.links == ["../published/evidence/trial-001.json"]
    assert rendered(to_markdown(matrix, lambda _: None)).links == []


# ---- what it does not ----


@given(ANYTHING)
def test_a_text_is_shown_and_does_nothing_else(value: str) -> None:
    """In a table's cell, in a heading, and in a sentence."""
    shown = text(value)
    assert "\n" not in shown
    page = rendered(
        f"# {shown} end\n\nsentence {shown} end\n\n| a | b |\n|---|---|\n| {shown} | x |"
    )
    assert page.tags <= {"h1", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.links == []
    cells = page.rows[1]
    assert len(cells) == 2
    assert cells[1] == "x"
    assert not AUTOLINKED.search(cells[0])
    expected = plain(value)
    expected = expected if len(expected) <= 200 else f"{expected[:200]}…"
    assert cells[0].replace("\u200b", "").split() == expected.replace("\u200b", "").split()


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE_RECORDS, max_size=3, unique_by=lambda record: record.trial_id))
def test_no_record_can_add_markup(records: list[Record]) -> None:
    matrix = matrix_of(*records)
    page = rendered(to_markdown(matrix))
    assert page.tags <= OUR_TAGS
    assert all(link.startswith("evidence/") for link in page.links)
    assert not AUTOLINKED.search(page.text)
    widths = {len(row) for row in page.rows if row[0] == "model and runtime"}
    assert widths <= {10}


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_texts_everywhere(value: str) -> None:
    hostile = with_conditions(
        with_device(
            with_workload(trial(1, cause=value), model=value, runtime=value, quantisation=value),
            profile=value,
            name=value,
            kind=value,
        ),
        browser=value,
        browser_version=value,
        runtime_version=value,
    )
    page = rendered(to_markdown(matrix_of(hostile)))
    assert page.tags <= OUR_TAGS
    assert not AUTOLINKED.search(page.text)
    assert [len(row) for row in page.rows] == [2, 2, 10, 10]
