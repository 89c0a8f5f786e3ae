"""What a run asks of native apps: its options, and the questions that follow from them."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.devices.appium.app import App, find_app
from harness.devices.appium.app_record import Question
from harness.devices.ios.apps import load_ios_apps
from harness.errors import UserError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from harness.profiles import Profile

# A token of today's vocabularies is about three quarters of an English word.
WORDS_A_TOKEN: Final = 0.75
_PASSAGE: Final = (
    "Explain in simple words why a language model that runs on a phone answers faster or slower"
    " than one on a large computer, and which part of the phone decides on it:"
)


@dataclass(frozen=True, slots=True)
class AskedApp:
    """One app with one of its models, and what it is asked. Its `str` is for ids of tests."""

    app: App
    question: Question
    apk: Path | None = None

    def __str__(self) -> str:
        label = self.app.model(self.question.model).label
        words = "".join(mark if mark.isalnum() or mark in ".-" else "_" for mark in label)
        return f"{self.app.id}-{words}"


def add_options(group: pytest.OptionGroup) -> None:
    """Add the options about native apps."""
    group.addoption(
        "--app",
        action="append",
        metavar="ID[:MODEL]",
        help="a native app to ask on phones, by its id in device_profiles/apps or its TOML file,"
        " and which of its models (a label or a glob; default: its first), e.g. 'llm-sample:*'",
    )
    group.addoption(
        "--app-apk", type=Path, metavar="PATH", help="installed first where a phone lacks the app"
    )
    group.addoption(
        "--app-prompt",
        metavar="TEXT",
        help="what the app is asked (default: an English text of about --prompt-tokens tokens)",
    )


def asked_apps(config: pytest.Config, profiles: Sequence[Profile]) -> tuple[AskedApp, ...]:
    """What `--app` asks for; nothing where it is not given.

    Raises:
        UserError: an app or a model is unknown, the APK is not there, or no device is a phone.
    """
    option = config.option
    if not option.app:
        return ()
    if not any(profile.kind in {"android", "ios"} for profile in profiles):
        raise UserError(
            "--app is for phones, and no --device of this run is one",
            "add for example --device=pixel7, and --emulate where there is no phone",
        )
    if option.app_apk is not None and not option.app_apk.is_file():
        raise UserError(f"{option.app_apk} is no file", "give the path of the app's APK")
    asked = []
    for word in option.app:
        name, _, model = word.partition(":")
        app = load_ios_apps().get(name) or find_app(name)
        for label in labels(app, model):
            question = Question(
                option.app_prompt or prompt_of(option.prompt_tokens),
                option.prompt_tokens,
                option.output_tokens,
                label,
            )
            asked.append(AskedApp(app, question, option.app_apk))
    return tuple(dict.fromkeys(asked))


def labels(app: App, pattern: str) -> list[str]:
    """The labels of an app's models that a pattern names; the first one where there is none.

    Raises:
        UserError: it names none; the message names the nearest ones.
    """
    known = [model.label for model in app.models]
    if not pattern:
        return known[:1]
    found = [pattern] if pattern in known else fnmatch.filter(known, pattern)
    if not found:
        raise unknown(f"model of {app.name}", pattern, known)
    return found


def prompt_of(tokens: int) -> str:
    """An English prompt of about so many tokens; how many, only the app's model knows."""
    count, words = max(1, round(tokens * WORDS_A_TOKEN)), _PASSAGE.split()
    return " ".join(words[place % len(words)] for place in range(count))
