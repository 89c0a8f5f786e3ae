"""Android's `UiSelector` as text, as tests send it (`-android uiautomator`).

Understood: `new UiSelector().text("x").instance(1)` with the methods below, and
`new UiScrollable(...).scrollIntoView(new UiSelector()...)`, of which only the inner selector
counts: everything is on the screen here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from harness.emulation.phone.android.ui import Node

_STRING: Final = r'"((?:[^"\\]|\\.)*)"'
_CALL: Final = re.compile(rf"\.(\w+)\(\s*(?:{_STRING}|(\d{{1,4}})|(true|false))\s*\)")
_LONGEST: Final = 4000
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


class SelectorError(Exception):
    """The selector is not understood."""


def parse(text: str) -> list[tuple[str, str | int | bool]]:
    """The conditions of a selector, in order.

    Raises:
        SelectorError: it is not understood.
    """
    text = text.strip().rstrip(";")[:_LONGEST]
    if "scrollIntoView(" in text:
        text = text.split("scrollIntoView(", 1)[1].strip()
        text = text.removesuffix(")")
    text = text.removeprefix("new ").strip()
    if not text.startswith("UiSelector()"):
        raise SelectorError(f"Could not parse expression `{text[:200]}`")
    rest, conditions = text.removeprefix("UiSelector()"), []
    while rest.strip():
        found = _CALL.match(rest.strip())
        if not found:
            raise SelectorError(f"Could not parse expression `{rest[:200]}`")
        name, word, number, truth = found.groups()
        value: str | int | bool
        if word is not None:
            value = re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), word)
        else:
            value = int(number) if number is not None else truth == "true"
        conditions.append((name, value))
        rest = rest.strip()[found.end() :]
    return conditions


def matching(root: Node, text: str) -> list[Node]:
    """The nodes that a selector selects, in document order.

    Raises:
        SelectorError: it is not understood.
    """
    conditions = parse(text)
    instance: int | None = None
    nodes = list(root.walk())
    for name, value in conditions:
        if name == "instance" and isinstance(value, int):
            instance = value
        else:
            nodes = [node for node in nodes if _holds(node, name, value)]
    if instance is not None:
        nodes = nodes[instance : instance + 1]
    return nodes


def _holds(node: Node, name: str, value: str | int | bool) -> bool:
    attributes = node.attributes()
    plain = {
        "text": "text",
        "description": "content-desc",
        "resourceId": "resource-id",
        "className": "class",
        "packageName": "package",
        "index": "index",
        "enabled": "enabled",
        "clickable": "clickable",
        "focusable": "focusable",
        "focused": "focused",
        "checked": "checked",
        "checkable": "checkable",
        "selected": "selected",
        "scrollable": "scrollable",
        "longClickable": "long-clickable",
    }
    if name in plain:
        wanted = str(value).lower() if isinstance(value, bool) else str(value)
        return attributes[plain[name]] == wanted
    for suffix in ("Contains", "StartsWith", "Matches"):
        base = plain.get(name.removesuffix(suffix))
        if not name.endswith(suffix) or base is None or not isinstance(value, str):
            continue
        shown = attributes[base]
        if suffix == "Contains":
            return value.lower() in shown.lower()
        if suffix == "StartsWith":
            return shown.lower().startswith(value.lower())
        try:
            return re.fullmatch(value, shown, re.DOTALL) is not None
        except re.error as error:
            raise SelectorError(f"bad pattern: {error}") from error
    raise SelectorError(f"UiSelector has no method {name} that is understood here")
