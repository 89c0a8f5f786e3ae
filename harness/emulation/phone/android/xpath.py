"""The part of XPath 1.0 that app tests use, over an ElementTree.

Axes child, descendant (`//`), self, parent, ancestor, following, preceding and their siblings;
predicates with positions, `last()`, attributes, `text()`-like comparisons of attributes,
`contains`, `starts-with`, `concat`, `normalize-space`, `not`, `and`, `or`; unions; parentheses.
Python's own ElementTree knows a smaller part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element

if TYPE_CHECKING:
    from collections.abc import Iterable

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<op>//|::|\.\.|!=|<=|>=|[\[\]()/@,|=<>.*+])"
    r"|(?P<name>[A-Za-z_][\w.$-]*))"
)
_NAME: Final = re.compile(r"[A-Za-z_][\w.$-]*")
_LONGEST: Final = 4000
_DEEPEST: Final = 40

Value = str | float | bool | list[Element]
#: (node, position, size) -> value
Expression = Callable[[Element, int, int], Value]
#: axis, name of the element or `*`, predicates
_Step = tuple[str, str, list[Expression]]


class XPathError(Exception):
    """The expression is not understood."""


class _Document:
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


def find_all(root: Element, expression: str) -> list[Element]:
    """The elements that an expression selects, in document order, each once.

    Raises:
        XPathError: it is not understood, or selects something else than elements.
    """
    if len(expression) > _LONGEST:
        raise XPathError("the expression is too long")
    document = _Document(root)
    parser = _Parser(document, expression)
    value = parser.expression()(root, 1, 1)
    parser.expect_end()
    if not isinstance(value, list):
        raise XPathError("the expression selects no elements")
    return [node for node in value if node is not document.top]


class _Parser:
    """Recursive descent: each method reads its part and gives a function of the context node."""

    def __init__(self, document: _Document, text: str) -> None:
        self._document = document
        self._tokens = _tokens(text)
        self._at = 0
        self._depth = 0

    # -- tokens -----------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _take(self, token: str) -> bool:
        if self._peek() == token:
            self._at += 1
            return True
        return False

    def _need(self, token: str) -> None:
        if not self._take(token):
            raise XPathError(f"{token!r} expected, {self._peek()!r} found")

    def expect_end(self) -> None:
        """Nothing may be left."""
        if self._peek():
            raise XPathError(f"{self._peek()!r} is not understood")

    # -- expressions ------------------------------------------------------------------------------

    def expression(self) -> Expression:
        """An `or` of `and`s of comparisons."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise XPathError("too deep")
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        self._depth -= 1
        if len(parts) == 1:
            return parts[0]
        return lambda node, at, size: any(_truth(part(node, at, size)) for part in parts)

    def _and(self) -> Expression:
        parts = [self._comparison()]
        while self._take("and"):
            parts.append(self._comparison())
        if len(parts) == 1:
            return parts[0]
        return lambda node, at, size: all(_truth(part(node, at, size)) for part in parts)

    def _comparison(self) -> Expression:
        left = self._union()
        operator = self._peek()
        if operator not in {"=", "!=", "<", ">", "<=", ">="}:
            return left
        self._next()
        right = self._union()
        return lambda node, at, size: _compare(
            operator, left(node, at, size), right(node, at, size)
        )

    def _union(self) -> Expression:
        parts = [self._path()]
        while self._take("|"):
            parts.append(self._path())
        if len(parts) == 1:
            return parts[0]

        def union(node: Element, at: int, size: int) -> Value:
            found = [value for part in parts for value in _nodes(part(node, at, size))]
            return self._ordered(found)

        return union

    def _path(self) -> Expression:
        word = self._peek()
        if word[:1] in {"'", '"'}:
            self._next()
            return lambda *_: word[1:-1]
        if word[:1].isdigit():
            self._next()
            return lambda *_: float(word)
        if word == "(":
            return self._parenthesised()
        if self._peek(1) == "(" and self._peek() not in {"text", "node"}:
            return self._function()
        return self._location()

    def _parenthesised(self) -> Expression:
        self._need("(")
        inner = self.expression()
        self._need(")")
        predicates = self._predicates()
        steps = self._steps() if self._peek() in {"/", "//"} else []
        if not predicates and not steps:
            return inner

        def run(node: Element, at: int, size: int) -> Value:
            found = _nodes(inner(node, at, size))
            for predicate in predicates:
                found = _filtered(found, predicate)
            return self._walk(found, steps)

        return run

    def _function(self) -> Expression:
        name = self._next()
        self._need("(")
        arguments = []
        while not self._take(")"):
            arguments.append(self.expression())
            if not self._take(",") and self._peek() != ")":
                raise XPathError(f"{self._peek()!r} is not understood")
        return _call(name, arguments)

    # -- paths ------------------------------------------------------------------------------------

    def _location(self) -> Expression:
        if self._peek() == "@":
            self._next()
            return _attribute(self._next())
        absolute = self._peek() in {"/", "//"}
        steps = self._steps(first=not absolute)

        def run(node: Element, _at: int, _size: int) -> Value:
            return self._walk([self._document.top] if absolute else [node], steps)

        return run

    def _steps(self, *, first: bool = False) -> list[_Step]:
        """The steps of a path; with `first`, one stands before the first slash."""
        steps: list[_Step] = [self._step()] if first else []
        while self._peek() in {"/", "//"}:
            if self._next() == "//":
                steps.append(("descendant-or-self", "*", []))
            if not self._peek() or self._peek() in {"]", ")", "|"}:
                return steps
            steps.append(self._step())
        return steps

    def _step(self) -> _Step:
        if self._take(".."):
            return "parent", "*", []
        if self._take("."):
            return "self", "*", []
        axis = "child"
        if self._peek(1) == "::":
            axis = self._next()
            self._next()
        test = self._next()
        if test == "node" and self._take("("):
            self._need(")")
            test = "*"
        if test != "*" and not _NAME.fullmatch(test):
            raise XPathError(f"{test!r} is not the name of an element")
        return axis, test, self._predicates()

    def _predicates(self) -> list[Expression]:
        found = []
        while self._take("["):
            found.append(self.expression())
            self._need("]")
        return found

    def _walk(self, start: list[Element], steps: list[_Step]) -> list[Element]:
        current = start
        for axis, test, predicates in steps:
            found: list[Element] = []
            for node in current:
                fitting = [
                    each for each in self._document.axis(axis, node) if test in ("*", each.tag)
                ]
                for predicate in predicates:
                    fitting = _filtered(fitting, predicate)
                found += fitting
            current = self._ordered(found)
        return current

    def _ordered(self, nodes: Iterable[Element]) -> list[Element]:
        return sorted(set(nodes), key=self._document.place.__getitem__)


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise XPathError(f"{text[at : at + 20]!r} is not understood")
        tokens.append(found.group().strip())
        at = found.end()
    return tokens


def _filtered(nodes: list[Element], predicate: Expression) -> list[Element]:
    kept = []
    for number, node in enumerate(nodes, 1):
        value = predicate(node, number, len(nodes))
        number_wanted = isinstance(value, float) and not isinstance(value, bool)
        if value == number if number_wanted else _truth(value):
            kept.append(node)
    return kept


def _attribute(name: str) -> Expression:
    def run(node: Element, _at: int, _size: int) -> Value:
        value = node.get(name)
        return False if value is None else value

    return run


def _call(name: str, arguments: list[Expression]) -> Expression:
    def text(number: int, node: Element, at: int, size: int) -> str:
        return _text(arguments[number](node, at, size))

    functions: dict[tuple[str, int], Expression] = {
        ("last", 0): lambda _node, _at, size: float(size),
        ("position", 0): lambda _node, at, _size: float(at),
        ("true", 0): lambda *_: True,
        ("false", 0): lambda *_: False,
        ("not", 1): lambda *context: not _truth(arguments[0](*context)),
        ("contains", 2): lambda *c: text(1, *c) in text(0, *c),
        ("starts-with", 2): lambda *c: text(0, *c).startswith(text(1, *c)),
        ("ends-with", 2): lambda *c: text(0, *c).endswith(text(1, *c)),
        ("normalize-space", 1): lambda *c: " ".join(text(0, *c).split()),
        ("string-length", 1): lambda *c: float(len(text(0, *c))),
        ("count", 1): lambda *c: float(len(_nodes(arguments[0](*c)))),
    }
    if name == "concat":
        return lambda *c: "".join(text(number, *c) for number in range(len(arguments)))
    found = functions.get((name, len(arguments)))
    if found is None:
        raise XPathError(f"{name}() with {len(arguments)} arguments is not understood")
    return found


def _nodes(value: Value) -> list[Element]:
    if isinstance(value, list):
        return value
    raise XPathError("elements expected")


def _truth(value: Value) -> bool:
    return bool(value)


def _text(value: Value) -> str:
    if isinstance(value, list):
        return (value[0].text or "") if value else ""
    if value is False:
        return ""
    return str(value)


def _compare(operator: str, left: Value, right: Value) -> bool:
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
