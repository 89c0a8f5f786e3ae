"""What a runtime loads: the files of one model, what they hold, and how they are recorded."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path  # noqa: TC003 - pydantic reads it
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MANIFEST = "manifest.json"

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all; the last call has both equal."""

FloatType = Literal["fp32", "fp16"]

Format = Literal["onnx", "gguf", "task", "litertlm", "tflite"]
"""How the files are laid out; `task` is MediaPipe's container for the web."""


class ArtifactFile(BaseModel):
    """One file of an artifact: its name (relative to the artifact's directory) and its size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    bytes: int = Field(ge=0)


class Artifact(BaseModel):
    """A model on disk, complete and ready to be served to a runtime.

    Attributes:
        key: Content key: a readable prefix and a hash of all that decides on the bytes.
        quantisation: Name in `harness.models.QUANTISATIONS`; None for a real model.
        format: How the files are laid out.
        float_type: Type of activations, of scales and of the key/value cache (ONNX).
        directory: Where the files are. Not part of the manifest: artifacts may be moved.
        entry: The file a runtime is pointed at; it is one of `files`.
        files: All files a runtime reads, the entry first.
        total_bytes: Size of all files.
        stored_bytes: Size of all weights once loaded. Larger than the files where several tensors
            share their bytes on disk.
        sha256: Over all files (see `hash_files`); real models only. A synthetic one is determined
            by its key.
        shape: What a decoder loop needs: layers, kv_heads, head_dim, vocabulary.
        inputs: Names of the graph's inputs other than the key/value cache.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    kind: Literal["synthetic", "real"]
    format: Format = "onnx"
    model: str
    quantisation: str | None = None
    float_type: FloatType = "fp32"
    directory: Path = Field(exclude=True)
    entry: str
    files: tuple[ArtifactFile, ...]
    total_bytes: int = Field(ge=0)
    stored_bytes: int = Field(ge=0)
    sha256: str | None = None
    shape: dict[str, int]
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")

    @property
    def entry_path(self) -> Path:
        """Where the entry file is."""
        return self.directory / self.entry

    def damage(self) -> str | None:
        """What is wrong with the files on disk (missing, other size), or None."""
        for file in self.files:
            path = self.directory / file.name
            try:
                size = path.stat().st_size
            except OSError as error:
                return f"{path}: {error.strerror}"
            if size != file.bytes:
                return f"{path}: {size} bytes instead of {file.bytes}"
        return None


def manifest_text(artifact: Artifact) -> str:
    """The manifest as it is stored."""
    return artifact.model_dump_json(indent=2) + "\n"


def read_manifest(directory: Path) -> Artifact | None:
    """The artifact recorded in `directory`, or None where there is no readable manifest.

    Only the manifest is read: `Artifact.damage` looks at the files themselves.
    """
    try:
        text = (directory / MANIFEST).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        bare = _Manifest.model_validate_json(text)
        return Artifact.model_validate({**bare.model_dump(), "directory": directory})
    except ValidationError:
        return None


class _Manifest(BaseModel):
    """A manifest before it is joined with its directory; `Artifact` validates the fields."""

    model_config = ConfigDict(extra="allow")


def hash_files(directory: Path, names: list[str], progress: Progress | None = None) -> str:
    """SHA-256 over files in the given order, read in 4 MiB pieces.

    Each file enters as its name, a zero byte, its size in decimal, a zero byte and its bytes, so
    that neither a renamed nor a differently divided file gives the same hash.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    total = sum((directory / name).stat().st_size for name in names)
    done = 0
    for name in names:
        with (directory / name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{name}\0{size}\0".encode())
            while piece := file.read(4 << 20):
                digest.update(piece)
                done += len(piece)
                if progress:
                    progress(done, total)
    return digest.hexdigest()
