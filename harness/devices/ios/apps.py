"""Descriptions of iOS apps that run a model with Core ML: `device_profiles/ios-apps/*.toml`.

They say the same as those of Android's apps (`harness.devices.appium.app`): steps, where the output
is, figures. The app is named by its bundle id, and elements by what iOS calls them: an
accessibility id (`description`), a class (`XCUIElementTypeTextView`), or an XPath over `@name`,
`@label` and `@value`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, Field, model_validator

from harness.devices.appium.app import App
from harness.devices.appium.selectors import Selector
from harness.profiles import PROFILES_DIRECTORY, check_name, load_description

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IOS_APPS_DIRECTORY: Final = PROFILES_DIRECTORY / "ios-apps"


class IosApp(App):
    """One app. `process` is what jetsam and crash reports call it; it is cut to 32 characters."""

    package: str = Field(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$", validation_alias="bundle_id")
    activity: str = Field(default="", max_length=0)
    apk: str = Field(
        min_length=1, validation_alias="obtain", description="where a user gets it from"
    )
    process: str = Field(min_length=1, max_length=200)

    @model_validator(mode="after")
    def _in_the_words_of_ios(self) -> Self:
        if any(step.scroll for part in (self.load, self.ask) for step in part.steps):
            raise ValueError("scroll is for Android's lists; tap what leads there instead")
        for selector in _selectors(self):
            if selector.text is not None:
                raise ValueError(
                    f"{selector}: iOS has no text to look for; use description (an accessibility"
                    " id), or xpath with @label"
                )
        return self

    @property
    def platform(self) -> Literal["android", "ios"]:
        """See `App.platform`."""
        return "ios"

    @property
    def bundle_id(self) -> str:
        """Its name to the system."""
        return self.package

    @property
    def roles(self) -> dict[str, str]:
        """By a process's name in reports, what it is to a load."""
        return {self.process: "engine"}


def load_ios_apps(directory: Path = IOS_APPS_DIRECTORY) -> dict[str, IosApp]:
    """All descriptions of a directory, by id.

    Raises:
        UserError: one of them is not valid.
    """
    found = {}
    for path in sorted(directory.glob("*.toml")):
        app = load_description(path, IosApp)
        check_name(path, app.id)
        found[app.id] = app
    return found


def _selectors(part: object) -> Iterator[Selector]:
    """Every selector below a part of a description."""
    if isinstance(part, Selector):
        yield part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _selectors(getattr(part, name))
    elif isinstance(part, tuple):
        for item in part:
            yield from _selectors(item)
