"""The words of `am start` and its like as an intent (`Intent.parseCommandArgs` of AOSP)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apps_base import Intent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.state import State

_KEPT: Final = frozenset({"-a", "-d", "-t", "-n", "-p"})
_NO_VALUE: Final = frozenset({
    "-D", "-N", "-R", "-S", "-W", "--attach-agent-bind", "--streaming", "--track-allocation",
    "--task-overlay", "--lock-task", "--allow-background-activity-starts",
    "--receiver-foreground", "--receiver-registered-only", "--receiver-replace-pending",
    "--selector", "--debug-log-resolution",
})  # fmt: skip
_NO_VALUE_STARTS: Final = ("--activity-", "--grant-", "--exclude-", "--include-")
_ONE_VALUE: Final = frozenset({
    "--user", "--display", "--windowingMode", "--activityType", "--task", "--start-profiler",
    "-P", "--sampling", "-i", "--receiver-permission", "--splashscreen-icon",
})  # fmt: skip
_EXTRAS: Final = frozenset({
    "-e", "--es", "--ez", "--ei", "--el", "--ef", "--ed", "--eu", "--ecn", "--eia", "--eial",
    "--ela", "--elal", "--efa", "--efal", "--esa", "--esal",
})  # fmt: skip
_BROWSABLE: Final = re.compile(r"(https?|about|chrome|data|blob|file):")
_COMPONENT: Final = re.compile(r"[\w.]+/[\w.$]+")
_PACKAGE: Final = re.compile(r"[A-Za-z]\w*(\.\w+)+")
HOME_CATEGORY: Final = "android.intent.category.HOME"


class BadIntentError(Exception):
    """The words make no intent; the message is what `am` prints."""


@dataclass(slots=True)
class Request:
    """An intent and how it is to be started."""

    intent: Intent
    wait: bool = False
    stop: bool = False


class _Words:
    """The words while they are read."""

    def __init__(self, words: Sequence[str]) -> None:
        self.rest = list(words)
        self.values: dict[str, str] = {}
        self.extras: dict[str, str] = {}
        self.categories: list[str] = []
        self.flags = 0
        self.seen: set[str] = set()

    def read(self) -> None:
        """Read all of them.

        Raises:
            BadIntentError: an option lacks its value, or is none.
        """
        while self.rest:
            word = self.rest.pop(0)
            if word.startswith("-"):
                self._option(word)
            elif _COMPONENT.fullmatch(word):
                self.values.setdefault("-n", word)
            elif ":" in word:
                self.values.setdefault("-d", word)
            else:
                self.values.setdefault("-p", word)

    def _value(self, option: str) -> str:
        if not self.rest:
            raise BadIntentError(f'Error: Argument expected after "{option}"\n')
        return self.rest.pop(0)

    def _option(self, word: str) -> None:
        if word in _KEPT:
            self.values[word] = self._value(word)
        elif word == "-c":
            self.categories.append(self._value(word))
        elif word == "-f":
            self.flags |= _number(self._value(word))
        elif word in _EXTRAS:
            name = self._value(word)
            self.extras[name] = self._value(word)
        elif word == "--esn":
            self.extras[self._value(word)] = ""
        elif word in _ONE_VALUE:
            self._value(word)
        elif word in _NO_VALUE or word.startswith(_NO_VALUE_STARTS):
            self.seen.add(word)
        else:
            raise BadIntentError(f"Error: Unknown option: {word}\n")


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise BadIntentError(f"Error: Bad number: {text}\n") from error


def parse_request(words: Sequence[str]) -> Request:
    """Read the words after the subcommand.

    Raises:
        BadIntentError: an option lacks its value, or is none.
    """
    read = _Words(words)
    read.read()
    component = read.values.get("-n")
    if component is not None and not _COMPONENT.fullmatch(component):
        raise BadIntentError(f"Error: Bad component name: {component}\n")
    return Request(
        Intent(
            action=read.values.get("-a"),
            data=read.values.get("-d"),
            mime=read.values.get("-t"),
            categories=tuple(read.categories),
            component=component,
            package=read.values.get("-p"),
            flags=read.flags,
            extras=read.extras,
        ),
        wait="-W" in read.seen,
        stop="-S" in read.seen,
    )


def full_component(component: str) -> str:
    """`pkg/.Main` as `pkg/pkg.Main`."""
    package, _, name = component.partition("/")
    return f"{package}/{package}{name}" if name.startswith(".") else component


def resolve(state: State, intent: Intent, browser: str) -> str | None:
    """The package that an intent starts; `None` where none does."""
    if intent.component:
        package = intent.component.partition("/")[0]
    elif intent.package and _PACKAGE.fullmatch(intent.package):
        package = intent.package
    elif intent.data and _BROWSABLE.match(intent.data):
        package = browser
    else:
        return None
    return package if package in state.packages else None
