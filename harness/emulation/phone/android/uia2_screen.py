"""What UiAutomator sees of the phone: the tree of the app at the front, and touches on it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.simulated_app import SimulatedApp
from harness.emulation.phone.android.ui import STATUS_BAR_DP, Row, as_xml, stack, xml_text
from harness.emulation.phone.android.uiselector import SelectorError, matching
from harness.emulation.phone.android.xpath import find_all
from harness.emulation.phone.android.xpath_values import XPathError

if TYPE_CHECKING:
    from harness.emulation.phone.android.phone import Phone
    from harness.emulation.phone.android.ui import Node

_MOST_HANDLES: Final = 5000


class NoSuchElementError(Exception):
    """Nothing fits."""


class StaleElementError(Exception):
    """What was found is not there any more."""


class InvalidSelectorError(Exception):
    """The selector is not understood."""


@dataclass(slots=True)
class UiScreen:
    """The front of the phone. `handles` maps the ids that a client knows to keys of nodes."""

    phone: Phone
    handles: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def app(self) -> SimulatedApp | None:
        """The simulated app at the front, where it is one."""
        app = self.phone.apps.get(self.package)
        return app if isinstance(app, SimulatedApp) else None

    @property
    def package(self) -> str:
        """The package at the front."""
        return self.phone.resumed.partition("/")[0]

    @property
    def status_bar(self) -> int:
        """Its height in pixels."""
        return round(STATUS_BAR_DP * self.phone.state.screen.scale)

    def tree(self) -> Node:
        """What is shown now."""
        screen = self.phone.state.screen
        if self.app is not None:
            rows = self.app.rows()
        else:
            # Of an app without a description only its frame is known.
            rows = [Row("content", "android.widget.FrameLayout", f"{self.package}:id/content")]
        return stack(rows, self.package, screen.size, screen.scale)

    def source(self) -> str:
        """The tree as XML."""
        screen = self.phone.state.screen
        top, _ = as_xml(self.tree(), screen.size, screen.rotation)
        return xml_text(top)

    def find(self, strategy: str, value: str, under: str | None = None) -> list[str]:
        """Handles of the nodes that fit, in document order.

        Raises:
            InvalidSelectorError: the strategy or the value is not understood.
            StaleElementError: `under` is not there any more.
        """
        root = self.node(under) if under else self.tree()
        try:
            found = self._matching(root, strategy, value)
        except (XPathError, SelectorError) as error:
            raise InvalidSelectorError(str(error)) from error
        return [self.handle(node) for node in found if under is None or node is not root]

    def _matching(self, root: Node, strategy: str, value: str) -> list[Node]:
        nodes = list(root.walk())
        match strategy:
            case "id":
                wanted = {value, f"{self.package}:id/{value}"}
                return [node for node in nodes if node.resource in wanted]
            case "accessibility id":
                return [node for node in nodes if node.description == value]
            case "class name":
                return [node for node in nodes if node.kind == value]
            case "-android uiautomator":
                return matching(root, value)
            case "xpath":
                screen = self.phone.state.screen
                top, by_element = as_xml(root, screen.size, screen.rotation)
                return [by_element[each] for each in find_all(top, value) if each in by_element]
            case _:
                raise InvalidSelectorError(f"strategy {strategy!r} is not understood")

    def handle(self, node: Node) -> str:
        """The id by which a client knows a node."""
        wanted = (node.package, node.key)
        for handle, known in self.handles.items():
            if known == wanted:
                return handle
        if len(self.handles) >= _MOST_HANDLES:
            self.handles.clear()
        handle = f"00000000-0000-0000-{secrets.token_hex(2)}-{secrets.token_hex(6)}"
        self.handles[handle] = wanted
        return handle

    def node(self, handle: str) -> Node:
        """The node of a handle as it is now.

        Raises:
            StaleElementError: it is not shown any more.
        """
        wanted = self.handles.get(handle)
        for node in self.tree().walk():
            if wanted == (node.package, node.key):
                return node
        raise StaleElementError(f"The element {handle!r} does not exist in DOM anymore")

    def click(self, handle: str) -> None:
        """Touch an element.

        Raises:
            StaleElementError: it is not shown any more.
        """
        node = self.node(handle)
        if self.app is not None:
            self.app.click(node.key)

    def click_at(self, x: float, y: float) -> None:
        """Touch a point: the last node that holds it, with what is behind."""
        hit = [node for node in self.tree().walk() if node.bounds.holds(x, y)]
        if hit and self.app is not None:
            self.app.click(hit[-1].key)

    def type(self, handle: str | None, text: str, *, replace: bool) -> bool:
        """Type into an element, or where the focus is; False where no text is taken.

        Raises:
            StaleElementError: it is not shown any more.
        """
        key = self.node(handle).key if handle else None
        return self.app is not None and self.app.type(key, text, replace=replace)

    def back(self) -> None:
        """The back key: to the launcher."""
        self.phone.state.foreground = None
