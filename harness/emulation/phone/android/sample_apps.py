"""Simulated apps: TOML files in `apps/` that describe screens and what a touch does.

    id = "llm-sample"                     # as the file is named
    package = "dev.tierlab.llmsample"
    activity = ".MainActivity"
    first = "models"                      # the screen that is shown first
    webview = "about:blank"               # instead of screens: an app around a WebView

    [variables]                           # texts that actions change; `{name}` in element texts
    output = ""

    [[screens]]
    name = "models"

    [[screens.elements]]                  # from top to bottom
    id = "model"                          # becomes the resource id PACKAGE:id/model
    class = "android.widget.Button"       # android.widget.TextView when left out
    text = "Tiny 1B"
    description = ""                      # content description
    click = "load"                        # an action
    input = "prompt"                      # a text field: what is typed goes to this variable
    visible = "status"                    # shown only while this variable is not empty
    enabled = "prompt"                    # enabled only while this variable is not empty

    [[actions.load]]                      # steps, one after the other
    show = "loading"                      # a screen
    [[actions.load]]
    memory = "200MiB"                     # what the app's process holds from now on: real memory
    [[actions.load]]
    wait = 0.3                            # seconds
    [[actions.load]]
    set = "status"                        # a variable, to
    text = "Loaded in {elapsed} s"
    [[actions.generate]]
    stream = "output"                     # a variable, word by word
    text = "Once upon a time"
    every = 0.02                          # seconds a word
    first = 0.1                           # seconds before the first one

`{elapsed}` is seconds since the action began; after a `stream`, `{first}` is the seconds to its
first word, `{words}` their number and `{rate}` words a second, all as they really were. An action
that starts while another runs ends that one; a step without a known key is an error.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.emulation.limits import parse_bytes
from harness.emulation.phone.android.state import FIRST_APP_UID, Package
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

APPS: Final = Path(__file__).parent / "apps"
_FIRST_UID: Final = FIRST_APP_UID + 160


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _size(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


class Element(_Section):
    """One element of a screen."""

    id: str = ""
    kind: str = Field(default="android.widget.TextView", alias="class")
    text: str = ""
    description: str = ""
    click: str | None = None
    input: str | None = None
    visible: str | None = None
    enabled: str | None = None


class Screen(_Section):
    """One screen."""

    name: str = Field(min_length=1)
    elements: tuple[Element, ...]


class Step(_Section):
    """One step of an action."""

    show: str | None = None
    wait: float | None = Field(default=None, ge=0, le=3600)
    set: str | None = None
    stream: str | None = None
    text: str = ""
    every: float = Field(default=0.02, ge=0, le=60)
    first: float = Field(default=0.0, ge=0, le=3600)
    memory: Annotated[int, BeforeValidator(_size), Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        things = (self.show, self.wait, self.set, self.stream, self.memory)
        if sum(thing is not None for thing in things) != 1:
            raise ValueError("a step is one of show, wait, set, stream, memory")
        return self


class Sample(_Section):
    """One simulated app."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    name: str = Field(min_length=1)
    package: str = Field(pattern=r"^[A-Za-z]\w*(\.[A-Za-z]\w*)+$")
    activity: str = Field(default=".MainActivity", pattern=r"^\.?[A-Za-z][\w.]*$")
    version: str = "1.0"
    webview: str | None = None
    first: str | None = None
    variables: dict[str, str] = {}
    screens: tuple[Screen, ...] = ()
    actions: dict[str, tuple[Step, ...]] = {}

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        names = {screen.name for screen in self.screens}
        if self.webview is None and self.first not in names:
            raise ValueError(f"first: there is no screen {self.first!r}")
        steps = [step for action in self.actions.values() for step in action]
        if missing := {step.show for step in steps if step.show} - names:
            raise ValueError(f"show: there is no screen {min(missing)!r}")
        elements = [element for screen in self.screens for element in screen.elements]
        clicks = {element.click for element in elements if element.click}
        if missing := clicks - self.actions.keys():
            raise ValueError(f"click: there is no action {min(missing)!r}")
        used = {name for each in elements for name in (each.input, each.visible, each.enabled)}
        used |= {name for step in steps for name in (step.set, step.stream)}
        if unknown := {name for name in used if name} - self.variables.keys():
            raise ValueError(f"there is no variable {min(unknown)!r}")
        return self


def load_sample(path: Path) -> Sample:
    """Read and validate one description.

    Raises:
        UserError: it cannot be read, is not TOML, or is not right.
    """
    try:
        sample = Sample.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError) as error:
        raise UserError(f"{path}: is not a simulated app: {error}") from error
    if sample.id.replace("-", "_") != path.stem.replace("-", "_"):
        raise UserError(f"{path}: id: is {sample.id!r}, but the file is named {path.stem!r}")
    return sample


def load_samples(directory: Path = APPS) -> dict[str, Sample]:
    """All simulated apps by package.

    Raises:
        UserError: one of them is not right.
    """
    samples = (load_sample(path) for path in sorted(directory.glob("*.toml")))
    return {sample.package: sample for sample in samples}


def package_of(sample: Sample, number: int) -> Package:
    """The app as it is installed; `number` counts the simulated apps."""
    return Package(
        name=sample.package,
        uid=_FIRST_UID + number,
        version=sample.version,
        activity=sample.activity,
        path=f"/data/app/~~tierlab==/{sample.package}-virtual==/base.apk",
    )


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with each known `{name}` replaced; other braces stay."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
