"""The tree of what is on the screen, in the form of UiAutomator (AccessibilityNodeInfoDumper.java).

Elements are stacked from top to bottom; positions are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Height of a row and of the status bar, in density-independent pixels.
_ROW_DP: Final = 48
STATUS_BAR_DP: Final = 24
_XML_HEAD: Final = "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>"


@dataclass(frozen=True, slots=True)
class Bounds:
    """A rectangle in pixels."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"[{self.x},{self.y}][{self.x + self.width},{self.y + self.height}]"

    @property
    def center(self) -> tuple[int, int]:
        """Its middle."""
        return self.x + self.width // 2, self.y + self.height // 2

    def holds(self, x: float, y: float) -> bool:
        """Whether a point is inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(slots=True)
class Node:
    """One node; `key` is the same for the same element as long as its screen is shown."""

    key: str
    kind: str
    package: str
    bounds: Bounds
    resource: str = ""
    text: str = ""
    description: str = ""
    clickable: bool = False
    editable: bool = False
    enabled: bool = True
    focused: bool = False
    index: int = 0
    children: list[Node] = field(default_factory=list)

    def walk(self) -> Iterator[Node]:
        """The node and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()

    def attributes(self) -> dict[str, str]:
        """The attributes by the names that UiAutomator2's server gives them."""
        truth = {
            "checkable": False,
            "checked": False,
            "clickable": self.clickable or self.editable,
            "enabled": self.enabled,
            "focusable": self.clickable or self.editable,
            "focused": self.focused,
            "long-clickable": self.editable,
            "password": False,
            "scrollable": False,
            "selected": False,
            "displayed": True,
        }
        return {
            "index": str(self.index),
            "package": self.package,
            "class": self.kind,
            "text": self.text,
            "content-desc": self.description,
            "resource-id": self.resource,
            **{name: str(value).lower() for name, value in truth.items()},
            "bounds": str(self.bounds),
        }


@dataclass(frozen=True, slots=True)
class Row:
    """One element before it has a place."""

    key: str
    kind: str
    resource: str = ""
    text: str = ""
    description: str = ""
    clickable: bool = False
    editable: bool = False
    enabled: bool = True
    focused: bool = False


def stack(rows: list[Row], package: str, size: tuple[int, int], scale: float) -> Node:
    """Rows below each other in a frame of the screen's size."""
    width, height = size
    root = Node("root", "android.widget.FrameLayout", package, Bounds(0, 0, width, height))
    top, row_height = round(STATUS_BAR_DP * scale), round(_ROW_DP * scale)
    for number, row in enumerate(rows):
        root.children.append(
            Node(
                key=row.key,
                kind=row.kind,
                package=package,
                bounds=Bounds(0, top + number * row_height, width, row_height),
                resource=row.resource,
                text=row.text,
                description=row.description,
                clickable=row.clickable,
                editable=row.editable,
                enabled=row.enabled,
                focused=row.focused,
                index=number,
            )
        )
    return root


def as_xml(
    root: Node, size: tuple[int, int], rotation: int
) -> tuple[ET.Element, dict[ET.Element, Node]]:
    """The document, and the node of each of its elements."""
    width, height = size
    top = ET.Element(
        "hierarchy",
        {
            "index": "0",
            "class": "hierarchy",
            "rotation": str(rotation),
            "width": str(width),
            "height": str(height),
        },
    )
    nodes: dict[ET.Element, Node] = {}
    _add(top, root, nodes)
    return top, nodes


def _add(parent: ET.Element, node: Node, nodes: dict[ET.Element, Node]) -> None:
    tag = node.kind.replace("$", ".") or "node"
    attributes = {name: _printable(value) for name, value in node.attributes().items()}
    element = ET.SubElement(parent, tag, attributes)
    nodes[element] = node
    for child in node.children:
        _add(element, child, nodes)


def _printable(text: str) -> str:
    """The text without what XML cannot hold."""
    return "".join(c if c in "\t\n\r" or c >= " " else "?" for c in text)


def xml_text(top: ET.Element) -> str:
    """The document as `GET /source` gives it."""
    return _XML_HEAD + ET.tostring(top, encoding="unicode")
