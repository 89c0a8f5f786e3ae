"""The part of XPath 1.0 that app tests use, over an ElementTree.

Axes child, descendant (`//`), self, parent, ancestor, following, preceding and their siblings;
predicates with positions, `last()`, attributes, `text()`-like comparisons of attributes,
`contains`, `starts-with`, `concat`, `normalize-space`, `not`, `and`, `or`; unions; parentheses.
Python's own ElementTree knows a smaller part.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.xpath_values import (
    Document,
    Expression,
    Value,
    XPathError,
    attribute,
    call,
    compare,
    filtered,
    nodes,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<text>'[^']*'|\"[^\"]*\")|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<op>//|::|\.\.|!=|<=|>=|[\[\]()/@,|=<>.*+])"
    r"|(?P<name>[A-Za-z_][\w.$-]*))"
)
_NAME: Final = re.compile(r"[A-Za-z_][\w.$-]*")
_LONGEST: Final = 4000
_DEEPEST: Final = 40

#: axis, name of the element or `*`, predicates
_Step = tuple[str, str, list[Expression]]


def find_all(root: Element, expression: str) -> list[Element]:
    """The elements that an expression selects, in document order, each once.

    Raises:
        XPathError: it is not understood, or selects something else than elements.
    """
    if len(expression) > _LONGEST:
        raise XPathError("the expression is too long")
    document = Document(root)
    parser = _Parser(document, expression)
    value = parser.expression()(root, 1, 1)
    parser.expect_end()
    if not isinstance(value, list):
        raise XPathError("the expression selects no elements")
    return [node for node in value if node is not document.top]


class _Parser:
    """Recursive descent: each method reads its part and gives a function of the context node."""

    def __init__(self, document: Document, text: str) -> None:
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
        return lambda node, at, size: any(truth(part(node, at, size)) for part in parts)

    def _and(self) -> Expression:
        parts = [self._comparison()]
        while self._take("and"):
            parts.append(self._comparison())
        if len(parts) == 1:
            return parts[0]
        return lambda node, at, size: all(truth(part(node, at, size)) for part in parts)

    def _comparison(self) -> Expression:
        left = self._union()
        operator = self._peek()
        if operator not in {"=", "!=", "<", ">", "<=", ">="}:
            return left
        self._next()
        right = self._union()
        return lambda node, at, size: compare(operator, left(node, at, size), right(node, at, size))

    def _union(self) -> Expression:
        parts = [self._path()]
        while self._take("|"):
            parts.append(self._path())
        if len(parts) == 1:
            return parts[0]

        def union(node: Element, at: int, size: int) -> Value:
            found = [value for part in parts for value in nodes(part(node, at, size))]
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
            found = nodes(inner(node, at, size))
            for predicate in predicates:
                found = filtered(found, predicate)
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
        return call(name, arguments)

    # -- paths ------------------------------------------------------------------------------------

    def _location(self) -> Expression:
        if self._peek() == "@":
            self._next()
            return attribute(self._next())
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
                    fitting = filtered(fitting, predicate)
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
