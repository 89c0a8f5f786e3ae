"""How an element on an app's screen is named. Pure.

`id` and `description` are Android's resource name and content description; `text` is the text that
is shown. All are compared whole. A text or a description is looked for by XPath, which every driver
knows, with the value quoted as XPath 1.0 wants it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - pydantic reads annotations at run time
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

By = Literal["id", "text", "description", "class_name", "xpath"]
_WAYS: tuple[By, ...] = ("id", "text", "description", "class_name", "xpath")


class Selector(BaseModel):
    """One element: exactly one way to find it, and which of several is meant.

    `enabled` is a state that is waited for; it plays no part in finding.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str | None = Field(default=None, min_length=1)
    text: str | None = Field(default=None, min_length=1)
    description: str | None = Field(default=None, min_length=1)
    class_name: str | None = Field(default=None, min_length=1)
    xpath: str | None = Field(default=None, min_length=1)
    last: bool = Field(default=False, strict=True, description="of several, the last one")
    enabled: bool | None = Field(default=None, strict=True)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [way for way in _WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(_WAYS)}, and has {', '.join(given) or 'none'}"
            )
        return self

    @property
    def by(self) -> By:
        """The way that is used."""
        return next(way for way in _WAYS if getattr(self, way) is not None)

    @property
    def value(self) -> str:
        """What is looked for."""
        return str(getattr(self, self.by))

    @property
    def uiautomator(self) -> str | None:
        """The same in the words of Android's `UiSelector`; `None` for an XPath."""
        method = {
            "id": "resourceId",
            "text": "text",
            "description": "description",
            "class_name": "className",
        }.get(self.by)
        return method and f"new UiSelector().{method}({_java(self.value)})"

    def filled(self, values: Mapping[str, str]) -> Selector:
        """The selector with `{name}` in its value replaced; in an XPath by a quoted literal."""
        quoted = {k: xpath_string(v) for k, v in values.items()} if self.by == "xpath" else values
        return self.model_copy(update={self.by: fill(self.value, quoted)})

    def __str__(self) -> str:
        return f"{self.by} {self.value!r}"


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each `{name}` replaced, once: what is put in is not looked into again."""
    names = "|".join(map(re.escape, values))
    return re.sub(rf"\{{({names})\}}", lambda found: values[found[1]], text) if values else text


def locator(selector: Selector) -> tuple[str, str]:
    """A selector as strategy and value of the WebDriver protocol."""
    value = selector.value
    match selector.by:
        case "id":
            return "id", value
        case "class_name":
            return "class name", value
        case "description":
            return "accessibility id", value
        case "text":
            return "xpath", f"//*[@text={xpath_string(value)}]"
        case "xpath":
            return "xpath", value


def xpath_string(text: str) -> str:
    """A text as a literal of XPath 1.0, which knows no escapes."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    parts = ', "\'", '.join(f"'{part}'" for part in text.split("'"))
    return f"concat({parts})"


def _java(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
