"""Descriptions of native apps that run a model: TOML files in `device_profiles/apps/`.

A description says how a user of the app would do it: which steps lead to a model, where the prompt
goes, how the screen shows that the app is at work, where its output and its speed figures are.
Validation is as strict as that of device profiles.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.devices.appium.selectors import Selector  # noqa: TC001 - pydantic reads annotations
from harness.errors import UserError, unknown
from harness.models import find_model, find_quantisation
from harness.profiles import PROFILES_DIRECTORY, check_name, load_description

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

APPS_DIRECTORY: Final = PROFILES_DIRECTORY / "apps"
# Of the records of native apps, in front of the app's id.
RUNTIME: Final = "app/"

FigureName = Literal[
    "create_seconds",
    "first_token_seconds",
    "prefill_tokens_per_s",
    "decode_tokens_per_s",
    "prompt_tokens",
    "output_tokens",
]
Outcome = Literal["engine-error", "out-of-memory", "unsupported", "lab-error"]
Seconds = Annotated[float, Field(gt=0, le=7200)]
Tokens = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_pattern)]


def _with_value(text: str) -> str:
    if "value" not in re.compile(_pattern(text)).groupindex:
        raise ValueError("needs a group (?P<value>...) around the number")
    return text


def _in_catalogue(find: Callable[[str], object]) -> Callable[[str], str]:
    def check(name: str) -> str:
        try:
            find(name)
        except UserError as error:
            raise ValueError(f"{error.problem}; {error.next_step}") from error
        return name

    return check


ValuePattern = Annotated[str, Field(min_length=1), AfterValidator(_with_value)]


class Step(_Section):
    """One thing that a user does.

    Exactly one of `tap`, `type` (with `text`) and `wait`. `{model}` and `{prompt}` are replaced in
    the values of selectors and in `text`.
    """

    tap: Selector | None = None
    type: Selector | None = None
    wait: Selector | None = None
    text: str | None = None
    scroll: bool = Field(default=False, strict=True, description="look for it in a long list")
    optional: bool = Field(
        default=False, strict=True, description="what is not there within `within` is left out"
    )
    within: Seconds = 20.0

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        given = [name for name in ("tap", "type", "wait") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("a step is one of tap, type or wait")
        if (self.type is None) != (self.text is None):
            raise ValueError("`text` is what `type` types: both or none")
        return self

    @property
    def selector(self) -> Selector:
        """What the step is about."""
        found = self.tap or self.type or self.wait
        if found is None:
            raise ValueError("a step without a selector")
        return found

    @property
    def action(self) -> Literal["tap", "type", "wait"]:
        """What the step does."""
        if self.tap is not None:
            return "tap"
        return "wait" if self.type is None else "type"


class Failure(_Section):
    """What the app shows when it has failed, and what that says."""

    find: Selector
    pattern: Pattern | None = Field(
        default=None, description="the text must contain it; without one any text is a failure"
    )
    means: Outcome = "engine-error"

    def says(self, text: str) -> bool:
        """Whether a text that `find` found is the failure."""
        return bool(text) and (self.pattern is None or re.search(self.pattern, text) is not None)


class Part(_Section):
    """Steps, then a state of the screen that ends them."""

    steps: tuple[Step, ...] = ()
    ready: Selector | None = Field(
        default=None, description="what is shown when the model takes a prompt"
    )
    seconds: Seconds = Field(default=300.0, description="from the last step to `ready`")


class Count(_Section):
    """A number on the screen that changes by one with each token."""

    find: Selector
    pattern: ValuePattern
    counts: Literal["up", "down"] = "up"


class Output(_Section):
    """Where the output is, and how it is known that it has ended.

    With `running`, the output has ended when that was shown and is not any more; with `finished`,
    when that is shown after the prompt was sent; in any case when the text has grown and then
    stood still for `quiet_seconds`, where that is given.
    """

    find: Selector
    running: Selector | None = None
    finished: Selector | None = None
    quiet_seconds: Seconds | None = None
    count: Count | None = None
    first_seconds: Seconds = Field(default=120.0, description="until the first text")
    token_seconds: Seconds = Field(default=60.0, description="silence between texts")
    seconds: Seconds = Field(default=900.0, description="for all of it")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.running is None and self.finished is None and self.quiet_seconds is None:
            raise ValueError("needs one of running, finished or quiet_seconds: when is it over?")
        return self


class Figure(_Section):
    """A number that the app shows after the output.

    The pattern is searched in all texts that `find` finds; the last hit counts. A group
    `(?P<unit>...)` overrides `unit`.
    """

    name: FigureName
    find: Selector
    pattern: ValuePattern
    unit: Literal["", "ms", "s", "min", "tokens/s", "ms/token"] = ""


class AppModel(_Section):
    """One model that the app offers.

    Attributes:
        label: its name in the app: what `{model}` stands for.
        model: its id in the catalogue.
        quantisation: how its weights are stored.
        backend: what the app runs it on; "simulated" where no model runs at all.
        file: where on the phone it must be; empty where the app fetches it itself.
    """

    label: str = Field(min_length=1)
    model: Annotated[str, AfterValidator(_in_catalogue(find_model))]
    quantisation: Annotated[str, AfterValidator(_in_catalogue(find_quantisation))]
    backend: Literal["", "cpu", "gpu", "npu", "simulated"] = ""
    file: str = Field(default="", pattern=r"^(/[^\x00\n]+)?$")


class App(_Section):
    """One app.

    `unverified` names the parts that were taken from the app's sources, and not seen on a phone.
    """

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    name: str = Field(min_length=1)
    package: str = Field(pattern=r"^[A-Za-z][\w]*(\.[A-Za-z][\w]*)+$")
    activity: str = Field(pattern=r"^\.?[A-Za-z][\w.]*$")
    apk: str = Field(min_length=1, description="where a user gets it from")
    start_seconds: Seconds = Field(default=60.0, description="until its first screen is shown")
    prompt_tokens: Tokens | None = Field(
        default=None, description="what the app runs itself, whatever it is asked"
    )
    output_tokens: Tokens | None = None
    models: tuple[AppModel, ...] = Field(min_length=1)
    load: Part
    ask: Part
    output: Output
    failures: tuple[Failure, ...] = ()
    figures: tuple[Figure, ...] = ()
    sources: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    notes: str = ""

    @property
    def platform(self) -> Literal["android", "ios"]:
        """The kind of profiles that it runs on."""
        return "android"

    @property
    def runtime(self) -> str:
        """The runtime's id in records."""
        return f"{RUNTIME}{self.id}"

    def model(self, label: str | None) -> AppModel:
        """The model of that label; the first one where none is named.

        Raises:
            UserError: the app has none of that name.
        """
        if label is None:
            return self.models[0]
        found = next((model for model in self.models if model.label == label), None)
        if found is None:
            raise unknown(f"model of {self.name}", label, [model.label for model in self.models])
        return found


def load_app(path: Path) -> App:
    """Read and validate one description.

    Raises:
        UserError: the file cannot be read, is not TOML, or is not a valid description.
    """
    app = load_description(path, App)
    check_name(path, app.id)
    return app


def load_apps(directory: Path = APPS_DIRECTORY) -> dict[str, App]:
    """All descriptions of a directory, by id.

    Raises:
        UserError: one of them is not valid.
    """
    return {path.stem: load_app(path) for path in sorted(directory.glob("*.toml"))}


def find_app(name: str, apps: Mapping[str, App] | None = None) -> App:
    """The app of that id, or that of a file with a path.

    Raises:
        UserError: there is none; the message names the nearest ones.
    """
    if name.endswith(".toml"):
        return load_app(Path(name))
    known = load_apps() if apps is None else apps
    if name not in known:
        raise unknown("app", name, known)
    return known[name]
