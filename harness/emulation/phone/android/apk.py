"""What an installer needs of an APK: the package, its version, its launcher, its instrumentation.

An APK is a ZIP with a binary AndroidManifest.xml; the binary form is that of
frameworks/base/libs/androidfw/include/androidfw/ResourceTypes.h (`ResXMLTree`). APKs come from
whoever has adb: sizes are bounded, and nothing of them is ever run.
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

_LARGEST_MANIFEST: Final = 4 << 20
_STRING_POOL: Final = 0x0001
_XML: Final = 0x0003
_START: Final = 0x0102
_END: Final = 0x0103
_UTF8: Final = 1 << 8
_STRING_VALUE: Final = 3
_INTEGERS: Final = frozenset({0x10, 0x11})
_ATTRIBUTE_BYTES: Final = 20
_NONE: Final = 0xFFFFFFFF
_DEEPEST: Final = 64
_LAUNCHER: Final = "android.intent.category.LAUNCHER"


class ApkError(Exception):
    """This is not an APK that can be read."""


@dataclass(slots=True)
class Manifest:
    """What was found. `instrumentation` is the runner's class, `target` what it instruments."""

    package: str = ""
    version: str = ""
    version_code: int = 0
    activity: str | None = None
    instrumentation: str | None = None
    target: str | None = None


@dataclass(slots=True)
class _Element:
    name: str
    attributes: dict[str, str | int] = field(default_factory=dict)


def read_apk(file: IO[bytes]) -> Manifest:
    """The manifest of an APK.

    Raises:
        ApkError: it is none, or is not well-formed.
    """
    try:
        with zipfile.ZipFile(file) as archive, archive.open("AndroidManifest.xml") as entry:
            data = entry.read(_LARGEST_MANIFEST)
    except (
        zipfile.BadZipFile,
        KeyError,
        OSError,
        ValueError,
        NotImplementedError,
        EOFError,
    ) as error:
        raise ApkError(f"not an APK: {error}") from error
    except Exception as error:
        raise ApkError(f"a damaged APK: {error}") from error
    return read_manifest(data)


def read_manifest(data: bytes) -> Manifest:
    """A binary manifest.

    Raises:
        ApkError: it is not well-formed, or names no package.
    """
    try:
        manifest = _collect(data)
    except (struct.error, IndexError, UnicodeDecodeError, ValueError) as error:
        raise ApkError(f"the manifest is damaged: {error}") from error
    if not manifest.package:
        raise ApkError("the manifest names no package")
    return manifest


def _collect(data: bytes) -> Manifest:
    manifest = Manifest()
    path: list[_Element] = []
    for element in _elements(data):
        if element is None:
            if path:
                path.pop()
            continue
        path.append(element)
        if len(path) > _DEEPEST:
            raise ValueError("too deep")
        attributes = element.attributes
        if element.name == "manifest":
            manifest.package = str(attributes.get("package", ""))
            manifest.version = str(attributes.get("versionName", ""))
            code = attributes.get("versionCode", 0)
            manifest.version_code = code if isinstance(code, int) else 0
        elif element.name == "instrumentation":
            manifest.instrumentation = str(attributes.get("name", ""))
            manifest.target = str(attributes.get("targetPackage", ""))
        elif element.name == "category" and attributes.get("name") == _LAUNCHER:
            for parent in reversed(path):
                if parent.name in {"activity", "activity-alias"} and manifest.activity is None:
                    manifest.activity = str(parent.attributes.get("name", "")) or None
                    break
    return manifest


def _elements(data: bytes) -> Iterator[_Element | None]:
    """Elements as they start; `None` as each ends."""
    kind, header, size = struct.unpack_from("<HHI", data, 0)
    if kind != _XML:
        raise ValueError("not binary XML")
    strings: list[str] = []
    at, end = header, min(size, len(data))
    while at + 8 <= end:
        kind, header, size = struct.unpack_from("<HHI", data, at)
        if size < 8:  # noqa: PLR2004 - a chunk's own header
            raise ValueError("an empty chunk")
        if kind == _STRING_POOL:
            strings = _strings(data, at)
        elif kind == _START:
            yield _element(data, at + header, strings)
        elif kind == _END:
            yield None
        at += size


def _element(data: bytes, at: int, strings: list[str]) -> _Element:
    _, name, start, width, count = struct.unpack_from("<IIHHH", data, at)
    element = _Element(_text(strings, name))
    if width < _ATTRIBUTE_BYTES:
        return element
    for number in range(count):
        _, key, raw, _, _, kind, value = struct.unpack_from(
            "<IIIHBBI", data, at + start + number * width
        )
        if kind == _STRING_VALUE:
            element.attributes[_text(strings, key)] = _text(strings, value)
        elif kind in _INTEGERS:
            element.attributes[_text(strings, key)] = value
        elif raw != _NONE:
            element.attributes[_text(strings, key)] = _text(strings, raw)
    return element


def _text(strings: list[str], number: int) -> str:
    return strings[number] if number < len(strings) else ""


def _strings(data: bytes, at: int) -> list[str]:
    header, _, count, _, flags, start, _ = struct.unpack_from("<HIIIIII", data, at + 2)
    result = []
    for number in range(count):
        (offset,) = struct.unpack_from("<I", data, at + header + 4 * number)
        place = at + start + offset
        if flags & _UTF8:
            _, place = _length8(data, place)
            length, place = _length8(data, place)
            result.append(data[place : place + length].decode("utf-8", "replace"))
        else:
            (length,) = struct.unpack_from("<H", data, place)
            place += 2
            if length & 0x8000:
                (low,) = struct.unpack_from("<H", data, place)
                length, place = (length & 0x7FFF) << 16 | low, place + 2
            result.append(data[place : place + 2 * length].decode("utf-16-le", "replace"))
    return result


def _length8(data: bytes, place: int) -> tuple[int, int]:
    length = data[place]
    if length & 0x80:
        return (length & 0x7F) << 8 | data[place + 1], place + 2
    return length, place + 1
