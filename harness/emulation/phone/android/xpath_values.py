"""Values and axes of XPath 1.0 over an ElementTree: what its parser builds on."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree.ElementTree import Element

Value = str | float | bool | list[Element]
#: (node, position, size) -> value
Expression = Callable[[Element, int, int], Value]


class XPathError(Exception):
    """The expression is not understood."""


class Document:
    """A tree with what an element does not know: its parent and its place.

    `top` is the document itself: a node above the root that is never a result.
    """

    def __init__(self, root: Element) -> None:
        self.top = Element("#document")
        self.top.append(root)
        self.order = list(self.top.iter())
        self.place = {node: number for number, node in enumerate(self.order)}
        self.parent = {child: node for node in self.order for child in node}

    def siblings(self, node: Element) -> list[Element]:
        """All children of its parent, itself included."""
        parent = self.parent.get(node)
        return [node] if parent is None else list(parent)

    def axis(self, name: str, node: Element) -> list[Element]:
        """The nodes of an axis, the nearest first."""
        axes: dict[str, Callable[[Element], list[Element]]] = {
            "child": list,
            "self": lambda at: [at],
            "descendant": lambda at: list(at.iter())[1:],
            "descendant-or-self": lambda at: list(at.iter()),
            "parent": lambda at: self._above(at)[:1],
            "ancestor": self._above,
            "ancestor-or-self": lambda at: [at, *self._above(at)],
            "following-sibling": self._after,
            "preceding-sibling": self._before,
            "following": lambda at: self.order[self.place[at] + len(list(at.iter())) :],
            "preceding": self._preceding,
        }
        if name not in axes:
            raise XPathError(f"unknown axis {name}")
        return axes[name](node)

    def _above(self, node: Element) -> list[Element]:
        found = []
        while node in self.parent:
            node = self.parent[node]
            found.append(node)
        return found

    def _after(self, node: Element) -> list[Element]:
        every = self.siblings(node)
        return every[every.index(node) + 1 :]

    def _before(self, node: Element) -> list[Element]:
        every = self.siblings(node)
        return every[: every.index(node)][::-1]

    def _preceding(self, node: Element) -> list[Element]:
        above = set(self._above(node))
        return [each for each in self.order[: self.place[node]] if each not in above][::-1]


def filtered(nodes: list[Element], predicate: Expression) -> list[Element]:
    """The nodes for which a predicate holds; a number is a position."""
    kept = []
    for number, node in enumerate(nodes, 1):
        value = predicate(node, number, len(nodes))
        number_wanted = isinstance(value, float) and not isinstance(value, bool)
        if value == number if number_wanted else truth(value):
            kept.append(node)
    return kept


def attribute(name: str) -> Expression:
    """`@name`: its text, or False where there is none."""

    def run(node: Element, _at: int, _size: int) -> Value:
        value = node.get(name)
        return False if value is None else value

    return run


def call(name: str, arguments: list[Expression]) -> Expression:
    """A function of XPath by its name."""

    def text(number: int, node: Element, at: int, size: int) -> str:
        return _text(arguments[number](node, at, size))

    functions: dict[tuple[str, int], Expression] = {
        ("last", 0): lambda _node, _at, size: float(size),
        ("position", 0): lambda _node, at, _size: float(at),
        ("true", 0): lambda *_: True,
        ("false", 0): lambda *_: False,
        ("not", 1): lambda *context: not truth(arguments[0](*context)),
        ("contains", 2): lambda *c: text(1, *c) in text(0, *c),
        ("starts-with", 2): lambda *c: text(0, *c).startswith(text(1, *c)),
        ("ends-with", 2): lambda *c: text(0, *c).endswith(text(1, *c)),
        ("normalize-space", 1): lambda *c: " ".join(text(0, *c).split()),
        ("string-length", 1): lambda *c: float(len(text(0, *c))),
        ("count", 1): lambda *c: float(len(nodes(arguments[0](*c)))),
    }
    if name == "concat":
        return lambda *c: "".join(text(number, *c) for number in range(len(arguments)))
    found = functions.get((name, len(arguments)))
    if found is None:
        raise XPathError(f"{name}() with {len(arguments)} arguments is not understood")
    return found


def nodes(value: Value) -> list[Element]:
    """The value as elements."""
    if isinstance(value, list):
        return value
    raise XPathError("elements expected")


def truth(value: Value) -> bool:
    """The value as a truth."""
    return bool(value)


def _text(value: Value) -> str:
    if isinstance(value, list):
        return (value[0].text or "") if value else ""
    if value is False:
        return ""
    return str(value)


def compare(operator: str, left: Value, right: Value) -> bool:
    """A comparison as XPath 1.0 does it, for single values."""
    if operator in {"=", "!="}:
        # An attribute that is not there equals nothing and differs from nothing.
        if left is False or right is False:
            return False
        if isinstance(left, float) or isinstance(right, float):
            same = _float(left) == _float(right)
        else:
            same = _text(left) == _text(right)
        return same if operator == "=" else not same
    first, second = _float(left), _float(right)
    if first is None or second is None:
        return False
    return {
        "<": first < second,
        ">": first > second,
        "<=": first <= second,
        ">=": first >= second,
    }[operator]


def _float(value: Value) -> float | None:
    try:
        return float(_text(value))
    except ValueError:
        return None
