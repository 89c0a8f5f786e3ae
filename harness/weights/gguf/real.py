"""The user's own GGUF files: what their heads say. Nothing of the weights is read but their hash.

The head is untrusted: every length is checked against what is left of the file before it is used.
"""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from harness.errors import UserError
from harness.weights.artifact import Artifact, ArtifactFile, Progress, hash_files

if TYPE_CHECKING:
    from pathlib import Path

_SPLIT: Final = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_VERSIONS: Final = (2, 3)  # version 1 had shorter lengths, and no model of today is stored so
# `enum gguf_type` as `struct` reads it; 8 is a text and 9 an array.
_SCALARS: Final = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
# Far above any head: the largest vocabularies take some 10 MB.
_MOST_PAIRS: Final = 1 << 16
_MOST_DEPTH: Final = 2
_MOST_TEXT: Final = 16 << 20


class _HeadError(Exception):
    """The head is not one."""


class _Reader:
    """Reads little-endian values from the head of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = size

    def take(self, count: int) -> bytes:
        self._spend(count)
        content = self._file.read(count)
        if len(content) != count:
            raise _HeadError("it ends within its head")
        return content

    def skip(self, count: int) -> None:
        self._spend(count)
        self._file.seek(count, os.SEEK_CUR)

    def _spend(self, count: int) -> None:
        if count > self._left:
            raise _HeadError("it ends within its head")
        self._left -= count

    def number(self, form: str) -> Any:  # noqa: ANN401 - what the form says
        return struct.unpack(f"<{form}", self.take(struct.calcsize(f"<{form}")))[0]

    def text(self) -> str:
        length = self.number("Q")
        if length > _MOST_TEXT:
            raise _HeadError(f"it claims a text of {length} bytes")
        return self.take(length).decode(errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:  # noqa: ANN401 - what the kind says
        """A value; of an array only the length, since nothing here needs its elements."""
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY or depth >= _MOST_DEPTH:
            raise _HeadError(f"its metadata has a value of the unknown type {kind}")
        element, length = self.number("I"), self.number("Q")
        if element in _SCALARS:
            self.skip(struct.calcsize(f"<{_SCALARS[element]}") * length)
        else:
            for _ in range(length):
                self.value(element, depth + 1)
        return length


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a GGUF file; arrays are given by their length alone.

    Raises:
        UserError: the file cannot be read, or is not GGUF.
    """
    try:
        with path.open("rb") as file:
            return _metadata(_Reader(file, path.stat().st_size))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check its permissions") from error
    except (_HeadError, struct.error) as error:
        raise UserError(
            f"{path} is not a GGUF model: {error}", "give a file in GGUF format"
        ) from error


def _metadata(reader: _Reader) -> dict[str, Any]:
    if reader.take(4) != b"GGUF":
        raise _HeadError("it does not begin with GGUF")
    version = reader.number("I")
    if version not in _VERSIONS:
        raise _HeadError(f"its version is {version}")
    reader.number("Q")
    pairs = reader.number("Q")
    if pairs > _MOST_PAIRS:
        raise _HeadError(f"it claims {pairs} pairs of metadata")
    found: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.text()
        found[key] = reader.value(reader.number("I"))
    return found


def real_gguf(path: Path, progress: Progress | None = None) -> Artifact:
    """Describe a GGUF model that is already on disk, the first of its files; nothing is copied.

    Raises:
        UserError: it is not GGUF, its metadata lacks a dimension, or a further file is missing.
    """
    metadata = read_metadata(path)
    names = _files(path)
    directory = path.parent
    try:
        sha256 = hash_files(directory, names, progress)
        files = tuple(
            ArtifactFile(name=name, bytes=(directory / name).stat().st_size) for name in names
        )
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename}: {error.strerror}",
            "put all files of the model beside the first one",
        ) from error
    total = sum(file.bytes for file in files)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem)
    return Artifact(
        key=f"real-{name}-{sha256[:10]}",
        kind="real",
        format="gguf",
        model=path.stem,
        directory=directory,
        entry=path.name,
        files=files,
        total_bytes=total,
        stored_bytes=total,
        sha256=sha256,
        shape=_shape(path, metadata),
    )


def _files(path: Path) -> list[str]:
    """All files of the model, by their names; llama.cpp finds further ones by the first's name."""
    found = _SPLIT.fullmatch(path.name)
    if not found:
        return [path.name]
    if int(found["number"]) != 1:
        raise UserError(
            f"{path} is not the first file of its model",
            f"give {found['stem']}-00001-of-{found['count']}.gguf",
        )
    count = int(found["count"])
    return [f"{found['stem']}-{i:05}-of-{found['count']}.gguf" for i in range(1, count + 1)]


def _shape(path: Path, metadata: dict[str, Any]) -> dict[str, int]:
    architecture = metadata.get("general.architecture", "")

    def number(key: str, default: int | None = None) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        if not isinstance(value, int) or value <= 0:
            raise UserError(
                f"{path}: its metadata lacks {architecture or 'general.architecture'}.{key}",
                "convert it again with a current llama.cpp",
            )
        return value

    heads = number("attention.head_count")
    vocabulary = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(vocabulary, int):
        vocabulary = number("vocab_size")
    return {
        "layers": number("block_count"),
        "kv_heads": number("attention.head_count_kv", heads),
        "head_dim": number("attention.key_length", number("embedding_length") // heads),
        "vocabulary": vocabulary,
    }
