"""The words of `am start` and its like as an intent (`Intent.parseCommandArgs` of AOSP)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.emulation.phone.android.apps_base import Intent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.emulation.phone.android.state import State

_NO_VALUE: Final = frozenset({"-D", "-N", "-R", "--attach-agent-bind", "--streaming",
                              "--track-allocation", "--task-overlay", "--lock-task",
                              "--allow-background-activity-starts", "--receiver-foreground",
                              "--receiver-registered-only", "--receiver-replace-pending",
                              "--selector", "--debug-log-resolution"})  # fmt: skip
_ONE_VALUE: Final = frozenset({"--user", "--display", "--windowingMode", "--activityType", "--task",
                               "--start-profiler", "-P", "--sampling", "-i", "--receiver-permission",
                               "--splashscreen-icon"})  # fmt: skip
_EXTRAS: Final = frozenset({"-e", "--es", "--ez", "--ei", "--el", "--ef", "--ed", "--eu", "--ecn",
                            "--eia", "--eial", "--ela", "--elal", "--efa", "--efal", "--esa",
                            "--esal"})  # fmt: skip
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
    strange: tuple[str, ...] = ()


def parse_request(words: Sequence[str]) -> Request:
    """Read the words after the subcommand.

    Raises:
        BadIntentError: an option lacks its value, or is none.
    """
    rest = list(words)
    values: dict[str, str] = {}
    extras: dict[str, str] = {}
    categories: list[str] = []
    flags = 0
    wait = stop = False

    def value(option: str) -> str:
        if not rest:
            raise BadIntentError(f'Error: Argument expected after "{option}"\n')
        return rest.pop(0)

    while rest:
        word = rest.pop(0)
        if word in {"-a", "-d", "-t", "-n", "-p"}:
            values[word] = value(word)
        elif word == "-c":
            categories.append(value(word))
        elif word == "-f":
            text = value(word)
            try:
                flags |= int(text, 0)
            except ValueError as error:
                raise BadIntentError(f"Error: Bad number: {text}\n") from error
        elif word in _EXTRAS:
            name = value(word)
            extras[name] = value(word)
        elif word == "--esn":
            extras[value(word)] = ""
        elif word == "-W":
            wait = True
        elif word == "-S":
            stop = True
        elif word in _ONE_VALUE:
            value(word)
        elif word in _NO_VALUE or word.startswith(
            ("--activity-", "--grant-", "--exclude-", "--include-")
        ):
            pass
        elif word.startswith("-"):
            raise BadIntentError(f"Error: Unknown option: {word}\n")
        elif _COMPONENT.fullmatch(word):
            values.setdefault("-n", word)
        elif ":" in word:
            values.setdefault("-d", word)
        else:
            values.setdefault("-p", word)
    component = values.get("-n")
    if component is not None and not _COMPONENT.fullmatch(component):
        raise BadIntentError(f"Error: Bad component name: {component}\n")
    return Request(
        Intent(
            action=values.get("-a"),
            data=values.get("-d"),
            mime=values.get("-t"),
            categories=tuple(categories),
            component=component,
            package=values.get("-p"),
            flags=flags,
            extras=extras,
        ),
        wait=wait,
        stop=stop,
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
