"""Finding elements: XPath, UiSelector, and the tree that they look at."""

from __future__ import annotations

from contextlib import suppress
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.emulation.phone.android.ui import Row, as_xml, stack, xml_text
from harness.emulation.phone.android.uiselector import SelectorError, matching
from harness.emulation.phone.android.xpath import find_all
from harness.emulation.phone.android.xpath_values import XPathError

TREE = ET.fromstring(  # noqa: S314 - this test's own
    "<h><f a='1'><t x='Decode speed'/><t x='12.5'/><b x='Go' n='send'/></f>"
    "<f a='2'><t x='Loading &quot;it&quot;'/><b x='Go'/><e/></f></h>"
)


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("//b", ["Go", "Go"]),
        ("//*[@x='Go']", ["Go", "Go"]),
        ("(//b)[2]", ["Go"]),
        ("(//*[@x='Go'])[last()]", ["Go"]),
        ("//f/t[1]", ["Decode speed", 'Loading "it"']),
        ("/h/f[2]/t", ['Loading "it"']),
        ("//*[@x='Decode speed']/following-sibling::*[1]", ["12.5"]),
        ("(//*[@x='12.5']/following::*[@x='Go'])[2]", ["Go"]),
        ("//*[starts-with(@x, 'Dec') or contains(@x, '2.')]", ["Decode speed", "12.5"]),
        ("//*[@x=concat('Loading ', '\"', 'it', '\"')]", ['Loading "it"']),
        ("//b[@n]", ["Go"]),
        ("//b[not(@n)]/..", [None]),
        ("//t[@x > 12]", ["12.5"]),
        ("//b[@n='send'] | //t[@x='12.5']", ["12.5", "Go"]),
        ("//nothing", []),
        ("//f[@a='2']/descendant::b[position()=1]", ["Go"]),
    ],
)
def test_xpath(expression: str, found: list[str | None]) -> None:
    assert [node.get("x") for node in find_all(TREE, expression)] == found


@pytest.mark.parametrize(
    "expression", ["", "//", "//*[", "//a b", "count(//b)", "nonsense()", "'x'"]
)
def test_what_is_no_expression_for_elements(expression: str) -> None:
    if expression == "//":
        assert find_all(TREE, expression)
        return
    with pytest.raises(XPathError):
        find_all(TREE, expression)


@given(st.text(alphabet="/*[]()@='\"abx |.:<>,0123456789-", max_size=40))
def test_xpath_never_raises_anything_else(expression: str) -> None:
    with suppress(XPathError):
        assert find_all(TREE, expression) is not None


ROWS = [
    Row("a", "android.widget.TextView", "p:id/title", "Choose\x00 a model"),
    Row("b", "android.widget.Button", "p:id/go", "Go", "Send", clickable=True),
    Row("c", "android.widget.Button", "p:id/stop", "Stop", clickable=True, enabled=False),
]
ROOT = stack(ROWS, "p", (1080, 2400), 2.625)


@pytest.mark.parametrize(
    ("selector", "keys"),
    [
        ('new UiSelector().text("Go")', ["b"]),
        ('new UiSelector().resourceId("p:id/stop").className("android.widget.Button")', ["c"]),
        ('new UiSelector().className("android.widget.Button").instance(1);', ["c"]),
        ('new UiSelector().textContains("OP").enabled(false)', ["c"]),
        ('new UiSelector().descriptionMatches("S.*d")', ["b"]),
        (
            (
                "new UiScrollable(new UiSelector().scrollable(true))"
                '.scrollIntoView(new UiSelector().text("Go"))'
            ),
            ["b"],
        ),
    ],
)
def test_selectors(selector: str, keys: list[str]) -> None:
    assert [node.key for node in matching(ROOT, selector)] == keys


@given(st.text(max_size=30))
def test_selectors_never_raise_anything_else(text: str) -> None:
    for selector in (text, f"new UiSelector().{text}", f'new UiSelector().textMatches("{text}")'):
        with suppress(SelectorError):
            assert matching(ROOT, selector) is not None


def test_the_source_is_xml_whatever_is_shown() -> None:
    top, nodes = as_xml(ROOT, (1080, 2400), 0)
    again = ET.fromstring(xml_text(top).encode())  # noqa: S314 - this test's own
    texts = [node.get("text") for node in again.iter("android.widget.TextView")]
    assert texts == ["Choose? a model"]
    assert len(nodes) == 4
    assert [node.bounds.y for node in ROOT.children] == [63, 189, 315]
