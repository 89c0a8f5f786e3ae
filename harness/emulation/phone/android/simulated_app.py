"""A simulated app as it runs: its screen, its variables, the action that is going on."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from harness.emulation.phone.android.plain_app import PlainApp
from harness.emulation.phone.android.sample_apps import Step, filled
from harness.emulation.phone.android.ui import Row

if TYPE_CHECKING:
    from harness.emulation.phone.android.apps_base import Intent
    from harness.emulation.phone.android.group import MemoryGroup
    from harness.emulation.phone.android.sample_apps import Element, Sample
    from harness.emulation.phone.android.state import Package, State
    from harness.emulation.phone.command import Place


class SimulatedApp(PlainApp):
    """A described app around one real process.

    Args:
        sample: its description.
        package: as it is installed.
        state: the phone.
        place: where the phone is on the host.
        group: what limits the process.
    """

    def __init__(
        self, sample: Sample, package: Package, state: State, place: Place, group: MemoryGroup
    ) -> None:
        super().__init__(package, state, place, group)
        self._sample = sample
        self._screen = sample.first or ""
        self._values = dict(sample.variables)
        self._focus: str | None = None
        self._action: asyncio.Task[None] | None = None

    async def start(self, intent: Intent) -> bool:
        """See `App.start`."""
        cold = await super().start(intent)
        if cold:
            self._screen = self._sample.first or ""
            self._values = dict(self._sample.variables)
            self._focus = None
        return cold

    async def stop(self, *, by: int) -> None:
        """See `App.stop`."""
        if self._action is not None:
            self._action.cancel()
        await super().stop(by=by)

    def rows(self) -> list[Row]:
        """What is shown, from top to bottom; nothing when the app does not run."""
        if self.pid is None:
            return []
        return [
            Row(
                key=f"{self._screen}:{number}",
                kind=element.kind,
                resource=f"{self.package}:id/{element.id}" if element.id else "",
                text=self._text(element),
                description=filled(element.description, self._values),
                clickable=element.click is not None,
                editable=element.input is not None,
                enabled=element.enabled is None or bool(self._values[element.enabled]),
                focused=self._focus == f"{self._screen}:{number}",
            )
            for number, element in enumerate(self._elements())
            if element.visible is None or self._values[element.visible]
        ]

    def _text(self, element: Element) -> str:
        if element.input is not None:
            return self._values[element.input]
        return filled(element.text, self._values)

    def _elements(self) -> tuple[Element, ...]:
        return next(each.elements for each in self._sample.screens if each.name == self._screen)

    def _element(self, key: str) -> Element | None:
        screen, _, number = key.rpartition(":")
        if screen != self._screen or not number.isdecimal() or int(number) >= len(self._elements()):
            return None
        return self._elements()[int(number)]

    def click(self, key: str) -> bool:
        """Touch an element; False when it is not there any more."""
        element = self._element(key)
        if element is None or self.pid is None:
            return False
        if element.input is not None:
            self._focus = key
        if element.click is not None and (element.enabled is None or self._values[element.enabled]):
            if self._action is not None:
                self._action.cancel()
            steps = self._sample.actions[element.click]
            self._action = asyncio.create_task(self._run(steps))
        return True

    def type(self, key: str | None, text: str, *, replace: bool) -> bool:
        """Type into a field, or into the one that has the focus; False where it takes no text."""
        key = key or self._focus or ""
        element = self._element(key)
        if element is None or element.input is None:
            return False
        self._focus = key
        self._values[element.input] = text if replace else self._values[element.input] + text
        return True

    async def _run(self, steps: tuple[Step, ...]) -> None:
        """One action; it ends early when the process dies."""
        begun = time.monotonic()
        facts: dict[str, str] = {}
        for step in steps:
            if self.pid is None:
                return
            facts["elapsed"] = f"{time.monotonic() - begun:.2f}"
            if step.wait is not None:
                await asyncio.sleep(step.wait)
            elif step.show is not None:
                self._screen, self._focus = step.show, None
            elif step.set is not None:
                self._values[step.set] = filled(step.text, {**self._values, **facts})
            elif step.memory is not None:
                if not await self.hold(step.memory):
                    return
            elif step.stream is not None:
                facts.update(await self._stream(step, step.stream))

    async def _stream(self, step: Step, name: str) -> dict[str, str]:
        """Let a text grow word by word; what was measured of it."""
        begun = time.monotonic()
        await asyncio.sleep(step.first)
        first = time.monotonic()
        words = step.text.split()
        for number, word in enumerate(words):
            if number:
                await asyncio.sleep(step.every)
            self._values[name] += f" {word}" if self._values[name] else word
        spent = max(time.monotonic() - first, 1e-6)
        return {
            "first": f"{first - begun:.2f}",
            "words": str(len(words)),
            "rate": f"{max(len(words) - 1, 1) / spent:.1f}",
        }
