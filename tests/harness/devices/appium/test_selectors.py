from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from harness.devices.appium.selectors import Selector, fill, locator, xpath_string


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(id="com.x:id/prompt"), ("id", "com.x:id/prompt")),
        (Selector(description="Send"), ("accessibility id", "Send")),
        (Selector(class_name="android.widget.EditText"), ("class name", "android.widget.EditText")),
        (Selector(xpath="//*[1]"), ("xpath", "//*[1]")),
        (Selector(text="it's"), ("xpath", '//*[@text="it\'s"]')),
    ],
)
def test_every_way_has_its_strategy(selector: Selector, expected: tuple[str, str]) -> None:
    assert locator(selector) == expected


@pytest.mark.parametrize("ways", [{}, {"id": "a", "text": "b"}])
def test_a_selector_has_exactly_one_way(ways: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one of id, text, description"):
        Selector(**ways)  # type: ignore[arg-type] # what a file may say


@given(st.text())
@example("""both " and '""")
@example("'")
def test_any_text_is_one_literal_of_xpath(text: str) -> None:
    literal = xpath_string(text)
    if literal.startswith("concat("):
        parts = re.findall(r"'[^']*'|\"[^\"]*\"", literal.removeprefix("concat("))
    else:
        parts = [literal]
    assert "".join(part[1:-1] for part in parts) == text
    assert all(part[0] not in part[1:-1] for part in parts)


def test_what_is_filled_in_is_not_looked_into_again() -> None:
    values = {"model": "{prompt}", "prompt": "p"}
    assert fill("{model} {prompt} {other}", values) == "{prompt} p {other}"


def test_values_are_quoted_in_an_xpath_and_nowhere_else() -> None:
    values = {"model": "O'B"}
    assert Selector(xpath="//*[@text={model}]").filled(values).value == '//*[@text="O\'B"]'
    assert Selector(text="{model}", last=True).filled(values) == Selector(text="O'B", last=True)


def test_a_text_is_quoted_for_android_too() -> None:
    assert Selector(text='a "b"\\').uiautomator == r'new UiSelector().text("a \"b\"\\")'
    assert Selector(xpath="//*").uiautomator is None
