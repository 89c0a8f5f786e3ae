from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.appium.app import Count, Figure
from harness.devices.appium.figures import read_count, read_figure, read_figures, read_number
from harness.devices.appium.selectors import Selector

ANY = Selector(class_name="android.widget.TextView")


def figure(pattern: str, unit: str = "", name: str = "first_token_seconds") -> Figure:
    return Figure.model_validate({"name": name, "find": ANY, "pattern": pattern, "unit": unit})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12.0), ("12.5", 12.5), ("12,5", 12.5), ("1,234", 1234.0), ("1,234.5", 1234.5),
        ("1\N{NARROW NO-BREAK SPACE}234", 1234.0), ("", None), ("-1", None), ("1e9", None),
        ("inf", None), ("1.2.3", None),
    ],
)  # fmt: skip
def test_numbers_are_read_as_apps_print_them(text: str, number: float | None) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(
    ("pattern", "unit", "text", "value"),
    [
        (r"TTFT: (?P<value>\S+) ms", "ms", "TTFT: 412.5 ms", 0.4125),
        (r"^(?P<value>[\d.]+) (?P<unit>ms|s|min)$", "", "1.5 min", 90.0),
        (r"(?P<value>[\d,.]+) tok/s", "tokens/s", "Decode 1,024.5 tok/s", 1024.5),
        (r"(?P<value>\d+) ms per token", "ms/token", "50 ms per token", 20.0),
        (r"(?P<value>\d+) ms per token", "ms/token", "0 ms per token", None),
        (r"(?P<value>.+) furlongs (?P<unit>\w+)", "", "3 furlongs fortnight", None),
        (r"TTFT: (?P<value>\S+)", "s", "nothing of the kind", None),
    ],
)
def test_figures_come_in_seconds_and_tokens_a_second(
    pattern: str, unit: str, text: str, value: float | None
) -> None:
    assert read_figure(figure(pattern, unit), [text]) == pytest.approx(value)


def test_the_last_hit_counts_and_of_two_of_one_name_the_first_that_is_found() -> None:
    one, other = figure(r"a(?P<value>\d)"), figure(r"b(?P<value>\d)")
    assert read_figure(one, ["a1 a2", "b", "a3"]) == 3
    assert read_figures([one, other], {0: ["b5"], 1: ["b6"]}) == {"first_token_seconds": 6}
    assert read_figures([one, other], {0: ["a5"], 1: ["b6"]}) == {"first_token_seconds": 5}


@given(st.lists(st.text()), st.sampled_from(["", "ms", "s", "ms/token"]))
def test_no_text_is_too_odd(texts: list[str], unit: str) -> None:
    value = read_figure(figure(r"(?P<value>[\w.,]+) ?(?P<unit>\w*)", unit), texts)
    assert value is None or (math.isfinite(value) and value >= 0)


def test_the_running_count_is_a_whole_number_or_none() -> None:
    count = Count(find=ANY, pattern=r"(?P<value>[\d,]+) tokens remaining", counts="down")
    assert read_count(count, "1,271 tokens remaining") == 1271
    assert read_count(count, "Loading model") is None
    assert read_count(count, None) is None
