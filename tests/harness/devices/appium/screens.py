"""An app whose screen follows a script, on a clock that only its own looks move."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.devices.appium.app import App
from harness.evidence import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.devices.appium.selectors import Selector

APP = {
    "id": "chat",
    "name": "A chat",
    "package": "org.example.chat",
    "activity": ".Main",
    "apk": "the shop",
    "models": [{"label": "Gemma", "model": "gemma-3-1b-it", "quantisation": "int4"}],
    "load": {"steps": [{"tap": {"text": "{model}"}}], "ready": {"id": "prompt"}, "seconds": 30},
    "ask": {
        "steps": [
            {"type": {"id": "prompt"}, "text": "say: {prompt}"},
            {"tap": {"id": "send"}, "within": 5},
        ]
    },
    "output": {
        "find": {"id": "answer", "last": True},
        "running": {"id": "stop"},
        "first_seconds": 20,
        "token_seconds": 10,
        "seconds": 60,
    },
    "failures": [{"find": {"id": "error"}, "pattern": "memory", "means": "out-of-memory"}],
    "figures": [
        {
            "name": "decode_tokens_per_s",
            "find": {"id": "speed"},
            "pattern": "(?P<value>[0-9.]+) tokens/s",
            "unit": "tokens/s",
        }
    ],
}


def app(**changes: object) -> App:
    """The app of the script, with sections replaced."""
    return App.model_validate({**APP, **changes})


@dataclass
class Clock:
    """Every look at it is a tenth of a second."""

    seconds: float = 0.0

    def __call__(self) -> float:
        self.seconds += 0.1
        return self.seconds


@dataclass
class ScriptedScreen:
    """The screen: texts by the value of selectors, changed by what is tapped and by time.

    `then` holds what is shown so many seconds after "send" was tapped: the last entry that is due.
    """

    clock: Clock
    shown: dict[str, list[str]] = field(default_factory=lambda: {"Gemma": ["Gemma"]})
    then: list[tuple[float, dict[str, list[str]]]] = field(default_factory=list)
    after_load: dict[str, list[str]] = field(default_factory=lambda: {"prompt": [""], "send": [""]})
    on_look: Callable[[], None] = lambda: None
    typed: list[str] = field(default_factory=list)
    tapped: list[str] = field(default_factory=list)
    sent_at: float | None = None

    def _texts(self, selector: Selector) -> list[str]:
        self.on_look()
        if self.sent_at is not None:
            since = self.clock() - self.sent_at
            due = [shown for at, shown in self.then if at <= since]
            if due:
                self.shown = due[-1]
        return self.shown.get(selector.value, [])

    async def texts(self, selector: Selector) -> list[str]:
        return self._texts(selector)

    async def text(self, selector: Selector) -> str | None:
        found = self._texts(selector)
        return found[0] if found else None

    async def shows(self, selector: Selector) -> bool:
        return bool(self._texts(selector))

    async def tap(self, selector: Selector) -> bool:
        if not self._texts(selector):
            return False
        self.tapped.append(selector.value)
        if selector.value == "Gemma":
            self.shown = self.after_load
        if selector.value == "send":
            self.sent_at = self.clock()
        return True

    async def type(self, selector: Selector, text: str) -> bool:
        if not self._texts(selector):
            return False
        self.typed.append(text)
        return True

    async def scroll_to(self, selector: Selector) -> None:
        self.tapped.append(f"scroll {selector.value}")


def timeline(clock: Clock) -> Timeline:
    return Timeline(clock)
