"""A reader of line protocol for tests, written from its description and not from any writer."""

from __future__ import annotations

from dataclasses import dataclass

_ESCAPED_IN_KEYS = ", ="


@dataclass(frozen=True)
class Point:
    measurement: str
    tags: list[tuple[str, str]]
    fields: list[tuple[str, float | int | bool | str]]
    time: int

    @property
    def tag(self) -> dict[str, str]:
        return dict(self.tags)

    @property
    def field(self) -> dict[str, float | int | bool | str]:
        return dict(self.fields)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0

    def peek(self) -> str:
        return self.text[self.place]

    def take(self, expected: str = "") -> str:
        character = self.peek()
        assert expected in ("", character), (self.text, self.place, expected)
        self.place += 1
        return character

    def key(self, ends: str) -> str:
        """A name or a tag's value: not empty, up to one of the ends that is not escaped."""
        found = ""
        while self.peek() not in ends:
            character = self.take()
            if character == "\\" and self.peek() in _ESCAPED_IN_KEYS:
                character = self.take()
            found += character
        assert found
        return found

    def value(self) -> float | int | bool | str:
        if self.peek() == '"':
            return self.string()
        word = ""
        while self.peek() not in ", ":
            word += self.take()
        if word in {"true", "false"}:
            return word == "true"
        return int(word.removesuffix("i")) if word.endswith("i") else float(word)

    def string(self) -> str:
        self.take('"')
        found = ""
        while (character := self.take()) != '"':
            escaped = character == "\\" and self.peek() in '"\\'
            found += self.take() if escaped else character
        return found


def parse(line: str) -> Point:
    """The point of one line; an AssertionError or IndexError where it is not one."""
    reader = _Reader(line)
    measurement = reader.key(", ")
    tags: list[tuple[str, str]] = []
    fields: list[tuple[str, float | int | bool | str]] = []
    while reader.take() == ",":
        name = reader.key("=")
        reader.take("=")
        tags.append((name, reader.key(", ")))
    while True:
        name = reader.key("=")
        reader.take("=")
        fields.append((name, reader.value()))
        if reader.take() == " ":
            break
    return Point(measurement, tags, fields, int(line[reader.place :]))
