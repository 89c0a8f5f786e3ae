"""Reading an APK's manifest: a made-up one, and anything else."""

from __future__ import annotations

import io
import struct
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.emulation.phone.android.apk import ApkError, Manifest, read_apk, read_manifest

LAUNCHER = "android.intent.category.LAUNCHER"
WORDS = ["manifest", "package", "org.example.app", "versionCode", "versionName", "2.5",
         "application", "activity",
         "name", ".Main", "intent-filter", "category", LAUNCHER, "instrumentation",
         "org.example.Runner", "targetPackage", "org.example.target", "größer"]  # fmt: skip


def chunk(kind: int, header: bytes, body: bytes) -> bytes:
    return struct.pack("<HHI", kind, 8 + len(header), 8 + len(header) + len(body)) + header + body


def pool(*, utf8: bool) -> bytes:
    data, offsets = b"", []
    for word in WORDS:
        offsets.append(len(data))
        if utf8:
            text = word.encode()
            data += bytes([len(word), len(text)]) + text + b"\0"
        else:
            data += struct.pack("<H", len(word)) + word.encode("utf-16-le") + b"\0\0"
    start = 28 + 4 * len(WORDS)
    header = struct.pack("<IIIII", len(WORDS), 0, 256 if utf8 else 0, start, 0)
    return chunk(1, header, struct.pack(f"<{len(offsets)}I", *offsets) + data)


def start(element: str, /, **attributes: str | int) -> bytes:
    rows = b""
    for key, value in attributes.items():
        if isinstance(value, int):
            rows += struct.pack(
                "<IIIHBBI", 0xFFFFFFFF, WORDS.index(key), 0xFFFFFFFF, 8, 0, 16, value
            )
        else:
            at = WORDS.index(value)
            rows += struct.pack("<IIIHBBI", 0xFFFFFFFF, WORDS.index(key), at, 8, 0, 3, at)
    fields = struct.pack(
        "<IIHHHHHH", 0xFFFFFFFF, WORDS.index(element), 20, 20, len(attributes), 0, 0, 0
    )
    return chunk(0x102, struct.pack("<II", 1, 0xFFFFFFFF), fields + rows)


def end(name: str) -> bytes:
    body = struct.pack("<II", 0xFFFFFFFF, WORDS.index(name))
    return chunk(0x103, struct.pack("<II", 1, 0xFFFFFFFF), body)


def manifest(*, utf8: bool = True) -> bytes:
    body = pool(utf8=utf8) + start(
        "manifest", package="org.example.app", versionCode=41, versionName="2.5"
    )
    body += start("application") + start("activity", name=".Main") + start("intent-filter")
    body += start("category", name=LAUNCHER) + end("category") + end("intent-filter")
    body += end("activity") + end("application")
    body += start(
        "instrumentation", name="org.example.Runner", targetPackage="org.example.target"
    ) + end("instrumentation")
    return chunk(3, b"", body + end("manifest"))


@pytest.mark.parametrize("utf8", [True, False])
def test_a_manifest(utf8: bool) -> None:
    assert read_manifest(manifest(utf8=utf8)) == Manifest(
        "org.example.app", "2.5", 41, ".Main", "org.example.Runner", "org.example.target"
    )


def test_an_apk() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("AndroidManifest.xml", manifest())
    assert read_apk(file).package == "org.example.app"
    with pytest.raises(ApkError):
        read_apk(io.BytesIO(b"PK\3\4 and nothing more"))


@given(st.binary(max_size=200))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ApkError):
        read_manifest(data)


@given(st.data())
def test_a_damaged_manifest_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(manifest())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ApkError):
        assert read_manifest(bytes(damaged)).package
