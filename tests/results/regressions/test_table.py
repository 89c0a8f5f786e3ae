"""Tables of comparisons: what they say, and that nobody's text drives the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from results.regressions.ab import ab_outcomes
from results.regressions.comparable import Dimension
from results.regressions.search import Regressions, find_regressions
from results.regressions.table import print_ab, print_regressions
from tests.results.regressions.rounds import rounds
from tests.results.trials import CELL, failed, in_cell, several

if TYPE_CHECKING:
    from results.figures import Figures
    from results.record import Record

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07 [red]markup[/red] [/nothing] a\r\nb\x9b2J \u202eabc"
UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def printed(found: Regressions, width: int = 80, **options: Any) -> str:
    stream = io.StringIO()
    print_regressions(Console(file=stream, width=width), found, **options)
    return stream.getvalue()


def printed_ab(records: list[Record], width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for outcome in ab_outcomes(records):
        print_ab(console, outcome)
    return stream.getvalue()


def builds(*factors: float, **changes: Any) -> list[list[Figures]]:
    return [
        several(6, day=n, factor=factor, **{"browser_version": f"156.0.8078.{n}", **changes})
        for n, factor in enumerate(factors, 8)
    ]


def by_browser(*groups: list[Figures]) -> Regressions:
    return find_regressions(in_cell(*groups), Dimension.BROWSER)


def test_a_regression_has_a_line_with_both_versions_and_all_figures() -> None:
    text = printed(by_browser(*builds(1.0, 1.0, 1.25)))
    assert "gemma-2b/int4 on onnxruntime-web/wasm, 16+8 tokens\n" in text
    assert "desktop (a processor, 2 cores, 8 GiB)\n" in text
    first, second = (line for line in text.splitlines() if "156.0.8078" in line and "load" in line)
    assert first.split() == [
        "load", "time", "156.0.8078.8", "1.250", "1.248", "to", "1.253", "6+6", "regressed",
    ]  # fmt: skip
    assert second == (
        "-> load time, first token, prefill speed, decode speed:"
        " first bad 156.0.8078.10, last good 156.0.8078.9"
    )
    assert text.endswith(
        "1 series compared by browser\n"
        "figures: 4 regressed, 0 improved, 2 same, 0 not enough data"
        " (of no interest: 5 % either way)\n"
    )


def test_what_is_the_same_has_a_line_only_when_asked_for() -> None:
    found = by_browser(*builds(1.0, 1.0))
    assert "decode" not in printed(found)
    assert "decode speed" in printed(found, everything=True)
    assert "6 ok, then 6 ok" in printed(found, everything=True)


def test_gaps_changes_and_a_busy_host_are_told() -> None:
    good, bad = builds(1.0, 1.25, threads=4)
    few = several(2, day=9, browser_version="156.0.8078.8.5", factor=1.25)
    other = in_cell(
        several(1, browser_version="156.0.8078.8.7"), cell=replace(CELL, model="another")
    )
    bad = [row._replace(threads=1, host_at_rest=0) for row in bad]
    text = printed(find_regressions([*in_cell(good, few, bad), *other], Dimension.BROWSER))
    assert (
        "first bad 156.0.8078.9, last good 156.0.8078.8; undecided between: 156.0.8078.8.5;"
        " untested between: 156.0.8078.8.7\n"
    ) in text
    assert "-> changed as well: threads: 4, then 1\n" in text
    assert "-> something else kept the host busy during 6 of the 14 trials\n" in text
    assert "1 series compared by browser; 1 have nothing to be compared with\n" in text


def test_too_few_trials_say_how_many_are_needed() -> None:
    text = printed(by_browser(*[group[:3] for group in builds(1.0, 1.25)]))
    squeezed = " ".join(text.split())
    assert "not enough data" in text
    assert "1 more load of each" in squeezed
    assert "1.250 - 3+3" in squeezed


def test_runs_are_named_by_the_beginning_of_their_ids() -> None:
    first, second = "0123456789abcdef", "fedcba9876543210"
    rows = [several(6, run_id=first), several(6, day=2, factor=1.3, run_id=second)]
    text = printed(find_regressions(in_cell(*rows), Dimension.RUN))
    assert "first bad fedcba98, last good 01234567\n" in text
    assert first not in text


def test_nothing_to_compare_is_said() -> None:
    assert printed(find_regressions([], Dimension.RUN)) == "nothing to compare by run\n"
    assert printed(by_browser(*builds(1.0))) == (
        "nothing to compare by browser; 1 have nothing to be compared with\n"
    )


@pytest.mark.parametrize("width", [80, 200])
def test_a_table_fits_its_terminal(width: int) -> None:
    found = by_browser(
        *builds(1.0, 1.1, 1.25),
        [failed(i, browser_version="157.0.10000.1234", day=28) for i in range(6)],
    )
    lines = printed(found, width, everything=True).splitlines()
    tables = [line for line in lines if not line.startswith(("->", "figures:"))]
    assert max(map(len, tables)) <= width


def test_a_hostile_device_is_harmless() -> None:
    cell = replace(
        CELL, profile=HOSTILE, hardware=HOSTILE, model=HOSTILE, quantisation=HOSTILE,
        variant=HOSTILE, runtime=HOSTILE, source=HOSTILE,
    )  # fmt: skip
    good, bad = builds(1.0, 1.25)
    good = [row._replace(browser_version=HOSTILE, threads=4) for row in good]
    bad = [
        row._replace(browser_version=f"{HOSTILE}2", adapter=HOSTILE, operating_system=HOSTILE)
        for row in bad
    ]
    dead = [
        failed(i, browser_version=f"{HOSTILE}3", verdict=HOSTILE, run_id=HOSTILE) for i in range(6)
    ]
    for by in Dimension:
        text = printed(find_regressions(in_cell(good, bad, dead, cell=cell), by), everything=True)
        assert not UNSAFE.search(text)
    assert "[red]markup[/red]" in printed(
        find_regressions(in_cell(good, bad, cell=cell), Dimension.BROWSER)
    )


# ---- A and B ----


def test_a_and_b_are_named_above_their_ratios() -> None:
    text = printed_ab(rounds(6, 1.2))
    lines = text.splitlines()
    assert lines[:3] == [
        "gemma-2b/int4 on onnxruntime-web/wasm, 16+8 tokens, desktop",
        "A: chromium 156.0.1",
        "B: chromium 157.0.1",
    ]
    decode = next(line for line in lines if line.startswith("decode speed"))
    assert decode.split() == [
        "decode", "speed", "0.833", "0.833", "to", "0.833", "6+6", "regressed",
    ]  # fmt: skip
    assert "\n6 rounds in turns\nof no interest: 5 % either way;" in text


def test_a_busy_host_is_told_of_a_and_b() -> None:
    records = [
        r.model_copy(
            update={"conditions": r.conditions.model_copy(update={"host_at_rest": number > 1})}
        )
        for number, r in enumerate(rounds(6, 1.0))
    ]
    assert "the host was not at rest in 2 of 12 trials\n" in printed_ab(records)


def test_a_hostile_browser_is_harmless_in_a_and_b() -> None:
    text = printed_ab(rounds(6, 1.2, b=HOSTILE, profile=HOSTILE))
    assert "[red]markup[/red]" in text
    assert not UNSAFE.search(text)
    assert max(map(len, printed_ab(rounds(2, 1.2)).splitlines()[3:-1])) <= 80
